"""What befalls a run's folder costs no checkpoint and no record: bytes before and after."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distgan import launch
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.recipes import recipe
from distgan.runs import records
from distgan.runs.records import METRICS
from distgan.storage.ownership import LOCK, Ownership
from distgan.storage.storage import OWNER, Storage

from .test_ends import EVERY, TINY, Stopping, resume, train
from .test_unfinished import content


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of several checkpoints, the last record of which is a whole one."""
    folder = tmp_path_factory.mktemp("lost") / "run"
    train(folder, **{**EVERY, "output.log_every": 128, "output.keep_checkpoints": 9})
    assert len(list(folder.glob("checkpoints/*.pt"))) >= 3
    return folder


@pytest.fixture
def run(tmp_path: Path, whole: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def line_damaged(run: Path, number: int, name: str = METRICS) -> None:
    lines = (run / name).read_bytes().splitlines(keepends=True)
    lines[number] = lines[number][:10] + b"\xf0{" + lines[number][12:]
    (run / name).write_bytes(b"".join(lines))


def index(run: Path, text: str | None) -> None:
    file = run / "checkpoints" / "index.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)


def no_checkpoint_whole(run: Path) -> None:
    index(run, None)
    for file in run.glob("checkpoints/*.pt"):
        file.write_bytes(file.read_bytes()[:-100])


def events_damaged(run: Path) -> None:
    (run / "events.jsonl").write_text('{"kind":\n{}\n')


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a first record": (lambda run: line_damaged(run, 0), r"metrics\.jsonl: is damaged"),
    "a middle record": (lambda run: line_damaged(run, 2), r"metrics\.jsonl: is damaged"),
    "a record of another shape": (
        lambda run: (run / METRICS).write_text('{"images": "many"}\n{"images": 64}\n'),
        r"metrics\.jsonl: line 1: is damaged",
    ),
    "an evaluation": (
        lambda run: line_damaged(run, 0, "evaluations.jsonl"),
        r"evaluations\.jsonl: is damaged",
    ),
    "an event": (events_damaged, r"events\.jsonl: line 1: is damaged"),
    "starts": (
        lambda run: (run / "environment.json").write_text("{"),
        r"environment\.json: is damaged",
    ),
    "the configuration": (
        lambda run: (run / "config.yaml").write_text("batch: 64\nbatch: 32\n"),
        r"config\.yaml: cannot be read as YAML",
    ),
    "all checkpoints": (no_checkpoint_whole, "no checkpoint loads without it"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_damage_that_is_refused_changes_no_byte(run: Path, what: str) -> None:
    damage, said = REFUSED[what]
    damage(run)
    before = content(run)
    with pytest.raises(UserError, match=said):
        resume(run, images=1280)
    after = content(run)
    after.pop(OWNER), before.pop(OWNER)
    assert after == before


GOES_ON: dict[str, Callable[[Path], object]] = {
    "no index": lambda run: index(run, None),
    "an empty index": lambda run: index(run, ""),
    "an index of nothing": lambda run: index(run, "[]"),
    "an index that is an object": lambda run: index(run, "{}"),
    "half an index": lambda run: index(run, '[{"fi'),
    "a last record cut off": lambda run: (run / METRICS).write_bytes(
        (run / METRICS).read_bytes() + b'{"images": 700, "d_lo'
    ),
    "unfinished files": lambda run: [
        (run / name).write_bytes(b"half")
        for name in (".metrics.jsonl.17.tmp", "checkpoints/.images-000000000640.pt.17.tmp")
    ],
    "nothing": lambda run: None,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", GOES_ON)
def test_what_goes_on_keeps_every_checkpoint_and_record(run: Path, what: str) -> None:
    before = content(run)
    kept = {name: found for name, found in before.items() if name.endswith(".pt")}
    # The records: not written again in other words, and none of them dropped.
    lines = before[METRICS]
    GOES_ON[what](run)
    result, _ = resume(run, images=1280)
    assert result.images_seen == 1280
    after = content(run)
    assert {name: after[name] for name in kept} == kept
    assert after[METRICS].startswith(lines)
    assert len(records.read(Storage(run))) == 10
    assert not [name for name in after if name.endswith(".tmp")]


def test_another_owners_run_is_left_to_the_byte(run: Path) -> None:
    with Ownership(Storage(run), "training") as owner:
        owner.claim()
        before = content(run)
        with pytest.raises(UserError, match="training goes on there"):
            resume(run, images=1280)
        after = content(run)
    assert LOCK in before
    assert after == before


def test_what_cannot_be_read_now_changes_no_byte(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, read = content(run), Storage.read

    def failing(storage: Storage, name: str) -> bytes:
        if name.endswith("640.pt"):
            raise OSError(errno.EIO, "Input/output error")
        return read(storage, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read", failing)
        with pytest.raises(UserError, match=r"640\.pt: cannot be read \(.*go on with --resume"):
            resume(run, images=1280)
    after = content(run)
    kept = [name for name in before if name.endswith((".pt", "index.json", ".jsonl"))]
    assert len(kept) > 5
    assert {name: after.get(name) for name in kept} == {name: before[name] for name in kept}


def test_a_folder_moved_while_it_trains_keeps_all_that_it_had(tmp_path: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    seen: dict[str, bytes] = {}

    class Moving(Stopping):
        def progress(self, status: object) -> None:
            if not seen and (run / "checkpoints" / "index.json").exists():
                seen.update(content(run))
                os.rename(run, moved)

    config = override(recipe("mnist-mlp-tutorial"), {**TINY, "images": 64_000, **EVERY})
    stop = Moving(10**9)
    with pytest.raises(UserError, match=r"is gone, or was moved or emptied|holds no run"):
        launch.train(config, out=str(run), workers=0, stop=stop, display=stop)
    assert not run.exists()
    after = content(moved)
    for name, found in seen.items():
        if name.endswith(".pt"):
            assert after[name] == found
    assert after[METRICS].startswith(seen[METRICS])
    index = json.loads(after["checkpoints/index.json"])
    assert {entry["file"] for entry in index} <= set(after)
