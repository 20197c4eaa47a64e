"""A device without enough memory, told by doubles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.out_of_memory import told
from distgan.training.state import TrainingState
from distgan.training.taken_up import whole

from .test_health import run_here, settings


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """80 GB, of which 76 were taken; and 1 GB left, the rest by others."""
    memory = {"peak": 76 * 10**9, "free": 1 * 10**9}
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: memory["peak"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory["free"], 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100")
    return memory


def _said(config: RunConfig, world: World | None = None) -> str:
    with pytest.raises(UserError) as raised, told(config, world or World()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return str(raised.value)


def configure(**changes: Any) -> RunConfig:
    return override(recipe("mnist-mlp-tutorial"), {"batch": 60, **changes})


def test_peak_and_remedies(gpu: dict[str, int]) -> None:
    assert _said(configure(), World(1, 2)) == (
        "worker 1: NVIDIA H100 has not enough memory for 30 images at a time: this run took up to "
        "76.0 of 80.0 GB; start anew with --accumulate 2 (the batch in 2 parts), or --precision "
        "bf16, or a smaller --batch; or go on with --resume on more workers"
    )
    # As the batch divides; and no bf16 where it is that already.
    found = _said(configure(accumulate=6, precision="bf16"))
    assert "for 10 images" in found
    assert "--accumulate 10 (" in found
    assert "bf16" not in found
    # An image for each worker, which cannot be less.
    assert "--accumulate" not in _said(configure(), World(0, 60))
    gpu["peak"] = 20 * 10**9
    assert "took up to 20.0 of 80.0 GB; other programs hold 59.0 GB of it; start" in _said(
        configure()
    )


def test_a_run_ends_with_the_sentence(
    gpu: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: TrainingState, batches: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TrainingState, "step", step)
    with pytest.raises(UserError, match="has not enough memory for 64 images at a time"):
        run_here(World(), settings(), tmp_path / "run")


def test_it_is_no_fault_of_a_checkpoint() -> None:
    with pytest.raises(torch.OutOfMemoryError), whole("run"):
        raise torch.OutOfMemoryError("CUDA out of memory")
