"""A set that was being made when its maker was killed: what it left goes, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distgan.data import prepare as preparing
from distgan.data.prepare import PrepareSettings
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from distgan.storage.storage import Storage

from .test_sources import class_folders


class KilledError(BaseException):
    """Stands for a kill: nothing runs after it."""


def kill(
    source: str, out: Path, chosen: PrepareSettings, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepare a set, and be killed at a move or write of the shards' and manifests' places."""
    steps = 0
    with monkeypatch.context() as patch:

        def counted(name: str) -> None:
            original = getattr(Storage, name)

            def step(storage: Storage, *given: object) -> object:
                nonlocal steps
                if given[0] != ".lock":
                    steps += 1
                    if steps > at:
                        raise KilledError
                return original(storage, *given)

            patch.setattr(Storage, name, step)

        counted("move")
        counted("write")
        patch.setattr("distgan.data.unfinished.clear", lambda storage: None)
        patch.setattr(preparing, "clear", lambda storage: None)
        with pytest.raises(KilledError):
            prepare(source, str(out), chosen, workers=0)


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(class_folders(tmp_path_factory.mktemp("sources") / "source"))


CHOSEN = PrepareSettings(validation=2)


@pytest.mark.parametrize("at", range(7))
def test_killed_anywhere_it_begins_again(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    out = tmp_path / "set"
    (out / "notes").mkdir(parents=True)
    (out / "notes" / "mine.txt").write_text("precious")
    kill(source, out, CHOSEN, at, monkeypatch)
    prepare(source, str(out), CHOSEN, workers=0)
    prepare(source, str(tmp_path / "straight"), CHOSEN, workers=0)
    straight = content(tmp_path / "straight")
    assert content(out) == {**straight, "notes/mine.txt": b"precious"}


@pytest.mark.parametrize(
    ("name", "at"),
    [(name, at) for name in ("mine.parquet", "validation/v.parquet") for at in (1, 5)]
    + [("bad-images.txt", 1)],
)
def test_files_of_others_stay(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    out = tmp_path / "set"
    kill(source, out, CHOSEN, at, monkeypatch)
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_bytes(b"precious")
    with pytest.raises(UserError, match=rf"--out {out}: .*choose another folder"):
        prepare(source, str(out), CHOSEN, workers=0)
    assert content(out) == {name: b"precious"}


@pytest.mark.parametrize(
    "names", ["[", '["../mine.parquet"]', '["/etc/x.parquet"]', '["notes.txt"]', '["a/b.parquet"]']
)
def test_a_list_that_nobody_wrote_deletes_nothing(source: str, tmp_path: Path, names: str) -> None:
    out = tmp_path / "set"
    (out / ".unfinished").mkdir(parents=True)
    (out / ".unfinished" / "files.json").write_text(names)
    (tmp_path / "mine.parquet").write_bytes(b"precious")
    before = content(tmp_path / "set")
    with pytest.raises(UserError, match=r"files\.json: .*delete .*\.unfinished"):
        prepare(source, str(out), CHOSEN, workers=0)
    assert content(out) == before
    assert (tmp_path / "mine.parquet").exists()


def test_the_list_names_what_there_will_be(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    kill(source, out, CHOSEN, 4, monkeypatch)
    listed = set(json.loads((out / ".unfinished" / "files.json").read_text()))
    prepare(source, str(tmp_path / "whole"), CHOSEN, workers=0)
    assert set(content(tmp_path / "whole")) <= listed
