"""However a run ends, the last record, a grid and what was asked for are there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from distgan import launch
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.launch.signals import StopRequest
from distgan.recipes import recipe
from distgan.runs import checkpoint, records
from distgan.storage.storage import Storage
from distgan.training import loop
from distgan.training.control import Status

TINY = {
    **{"batch": 64, "images": 640, "generator.network.widths": "8"},
    **{"discriminator.network.widths": "8", "evaluate.num": 100, "evaluate.metrics": "sliced"},
}


EVERY = {"evaluate.every": 400, "output.log_every": 250, "output.checkpoint_every": 256}


class Stopping(StopRequest):
    """A stop that is asked for once some images have been seen."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def start(self, plan: Any) -> None: ...
    def note(self, text: str, kind: str = "") -> None: ...

    def progress(self, status: Status) -> None:
        if status.images_seen >= self.at:
            self.name = "SIGTERM"


def train(folder: Path, stop_at: int = 10**9, **changes: Any) -> launch.Result:
    config = override(recipe("mnist-mlp-tutorial"), {**TINY, **changes})
    stop = Stopping(stop_at)
    return launch.train(config, out=str(folder), workers=0, stop=stop, display=stop)


def resume(folder: Path, **changes: Any) -> tuple[launch.Result, list[str]]:
    said: list[str] = []
    stop = Stopping(10**9)
    stop.note = lambda text, kind="": said.append(text)  # type: ignore[method-assign]
    return launch.resume(str(folder), changes, workers=0, stop=stop, display=stop), said


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ends between two records, grids and evaluations."""
    folder = tmp_path_factory.mktemp("ends") / "run"
    train(folder, **EVERY)
    return folder


def test_the_end_of_a_run(whole: Path) -> None:
    found = records.read(Storage(whole))
    assert [record["images"] for record in found] == [256, 512, 640]
    assert found[-1]["interim"]
    assert found[-1]["d_loss"] > 0
    assert (whole / "samples" / "images-000000000640.png").exists()
    measured = evaluation.read(Storage(whole))
    assert [entry["images"] for entry in measured] == [448, 640]


def test_a_stop(tmp_path: Path, whole: Path) -> None:
    result = train(tmp_path / "run", 64, **EVERY)
    assert result.stopped == "SIGTERM"
    seen = result.images_seen
    assert 0 < seen < 640
    storage = Storage(tmp_path / "run")
    assert records.read(storage)[-1]["images"] == seen
    assert (tmp_path / "run" / "samples" / f"images-{seen:012d}.png").exists()
    assert [entry["images"] for entry in evaluation.read(storage)][-1] == seen
    assert checkpoint.index(storage)[-1]["images_seen"] == seen
    # Going on, all is as if it had not been stopped: the last record covers what it had.
    resume(tmp_path / "run")
    for mine, straight in zip(records.read(storage), records.read(Storage(whole)), strict=True):
        for name in ("images", "d_loss", "g_loss", "d_real", "health"):
            assert mine[name] == straight[name], name
    both = [checkpoint.load_newest(Storage(folder)) for folder in (tmp_path / "run", whole)]
    assert all(state is not None for state in both)
    first, second = (state["averages"]["generator"] for state in both if state is not None)
    assert all((first[name] == second[name]).all() for name in second)


@pytest.mark.parametrize("what", ["remember", "Evaluator"])
@pytest.mark.parametrize("stop_at", [64, 10**9])
def test_a_last_evaluation_that_fails_costs_nothing_else(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, what: str, stop_at: int
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("the evaluations are locked")

    owner: Any = evaluation if what == "remember" else loop
    said: list[str] = []
    monkeypatch.setattr(Stopping, "note", lambda self, text, kind="": said.append(text))
    changes = {**EVERY, "evaluate.every": 10_000}
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, refuse)
        if stop_at == 64:
            assert train(tmp_path / "run", 64, **changes).stopped == "SIGTERM"
            assert "no last evaluation: the evaluations are locked" in said
        else:
            with pytest.raises(UserError, match="the evaluations are locked"):
                train(tmp_path / "run", **changes)
    storage = Storage(tmp_path / "run")
    seen = checkpoint.index(storage)[-1]["images_seen"]
    assert records.read(storage)[-1]["images"] == seen
    assert storage.exists(f"samples/images-{seen:012d}.png")
    assert not evaluation.read(storage)
    if stop_at > 64:
        assert seen == 640
        for name in ("generator.safetensors", "generator_ema.safetensors"):
            assert storage.read(name) == (whole / name).read_bytes()


INDEXES = {"missing": None, "empty": "", "an empty list": "[]", "an object": "{}", "cut": '[{"fi'}


@pytest.mark.parametrize("how", INDEXES)
def test_checkpoints_without_an_index_are_taken_up(tmp_path: Path, whole: Path, how: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    files = {path.name: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")}
    assert len(files) >= 2
    entries = checkpoint.index(Storage(run))
    content = INDEXES[how]
    if content is None:
        (run / "checkpoints" / "index.json").unlink()
    else:
        (run / "checkpoints" / "index.json").write_text(content)
    result, said = resume(run, **{"images": 704, "output.keep_checkpoints": 9})
    assert result.images_seen == 704
    assert any(f"made anew of {len(files)} checkpoints that load" in line for line in said)
    kept = {path.name: path.read_bytes() for path in (run / "checkpoints").glob("*.pt")}
    assert {name: kept[name] for name in files} == files
    assert checkpoint.index(Storage(run))[: len(entries)] == entries


def test_a_checkpoint_that_does_not_load_is_named_and_left(tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "checkpoints" / "index.json").unlink()
    first, *_, second = sorted((run / "checkpoints").glob("*.pt"))
    second.write_bytes(second.read_bytes()[:1000])
    broken = second.read_bytes()
    _, said = resume(run, images=704)
    assert any(f"left alone, as it does not load: {second}" in line for line in said)
    (run / "checkpoints" / "index.json").unlink()
    for path in (run / "checkpoints").glob("*.pt"):
        path.write_bytes(broken)
    with pytest.raises(UserError, match=r"no checkpoint loads without it .*put back the files"):
        resume(run, images=704)
    assert first.read_bytes() == broken


def test_beginning_again_is_said(tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints")
    for file in run.glob("generator*"):
        os.remove(file)
    _, said = resume(run)
    assert (
        "there is no checkpoint, so training begins again; 3 records, up to 640 images" in said[0]
    )


def test_files_that_the_index_does_not_know_stay(tmp_path: Path, whole: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "checkpoints" / "mine.pt").write_bytes(b"precious")
    resume(run, images=1280)
    assert (run / "checkpoints" / "mine.pt").read_bytes() == b"precious"
    assert len(checkpoint.index(Storage(run))) <= 3


def test_two_drivers_and_two_starts_in_one_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-000000")
    said: list[str] = []

    class Second(Stopping):
        def progress(self, status: Status) -> None:
            if not said:
                with pytest.raises(UserError) as caught:
                    launch.resume(first, {}, workers=0)
                said.append(str(caught.value))

    first = "runs/mnist-mlp-tutorial-20260101-000000"
    config = override(recipe("mnist-mlp-tutorial"), TINY)
    other = Second(10**9)
    assert launch.train(config, workers=0, display=other, stop=other).path == first
    assert f"--resume {first}: training goes on there, by process {os.getpid()} on" in said[0]
    assert launch.train(config, workers=0).path == f"{first}-2"
