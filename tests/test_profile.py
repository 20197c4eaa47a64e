"""What a run says of its own steps: a trace of some, and the memory of a GPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.cli import main
from distgan.parallel import World
from distgan.runs import checkpoint
from distgan.runs.checkpoint import Writer
from distgan.storage.storage import Storage
from distgan.training.clock import Clock
from distgan.training.profile import StepProfile

TINY = [
    *("mnist-mlp-tutorial", "--generator.network.widths", "8"),
    *("--discriminator.network.widths", "8", "--batch", "16", "--workers", "0"),
]


@pytest.mark.parametrize(
    ("steps", "traced", "file"),
    # Of 8 steps, 3 are over before; a shorter run has what follows its last step besides.
    [(2, 2, "images-000000000080"), (9, 5 + 1, "images-000000000128")],
)
def test_a_trace_has_so_many_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: int, traced: int, file: str
) -> None:
    out = tmp_path / "run"
    more = ["--images", "128", "--profile", str(steps), "--out", str(out)]
    assert main(["train", *TINY, *more]) == 0
    events = json.loads((out / "profile" / f"{file}.json").read_text())["traceEvents"]
    names = [event.get("name", "") for event in events if event.get("ph") == "X"]
    begun = {name for name in names if name.startswith("ProfilerStep#")}
    assert len(begun) == traced
    # One forward of each network's two layers, at least, in each of them.
    assert sum(name == "aten::addmm" for name in names) >= 4 * min(steps, 5)
    assert "profile/ in it" in capsys.readouterr().out


def test_no_trace_costs_no_profiler(tmp_path: Path) -> None:
    profile = StepProfile(Storage(tmp_path), 0)
    profile.after_step(16)
    profile.close()
    assert list(tmp_path.iterdir()) == []
    # None is left running: another may start.
    with torch.profiler.profile():
        pass


def test_a_record_tells_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda of: asked.append(of) or 12345)
    gpu = torch.device("cuda", 1)
    assert Clock(0, World(device=gpu)).lap(10)["peak_memory"] == 12345
    assert asked == [gpu]
    assert "peak_memory" not in Clock(0, World()).lap(10)


def test_a_checkpoint_is_written_once_its_copy_has_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a copy on its way from a GPU: filled in only when it is waited for."""
    arriving = {"images_seen": 5, "weight": torch.zeros(3)}

    def begin(_: Any) -> tuple[Any, Any]:
        return arriving, lambda: arriving["weight"].fill_(7)

    monkeypatch.setattr(checkpoint, "begin_snapshot", begin)
    with Writer(Storage(tmp_path), keep=2) as writer:
        writer.save({"images_seen": 5})
    found = checkpoint.load_newest(Storage(tmp_path))
    assert found is not None
    assert found["weight"].tolist() == [7, 7, 7]
