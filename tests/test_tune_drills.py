"""Searches whose driver and trials are killed at five moments come to what they would have."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from distgan.storage.storage import Storage
from distgan.tune import record

from . import tuning
from .conftest import Run, command
from .test_tune import trainer_of, wait_for

OPTIONS = (
    "mnist-mlp-tutorial",
    "--batch",
    "64",
    "--rung",
    "2560",
    "--num",
    "100",
    "--rung-num",
    "50",
)
OPTIONS += ("--samples", "4", "--concurrent", "1", "--device", "cpu")
OPTIONS += ("--space", "generator.optimizer.lr=scale(0.1,30)")
OPTIONS += ("--space", "discriminator.penalty.r1=choice(0,0.1)")
WAYS = {
    "asha": ("--max-images", "12800", "--reduction", "2"),
    # Members start anew after each rung, which takes longer than all else.
    "pbt": ("--max-images", "7680", "--scheduler", "pbt"),
    "optuna": ("--max-images", "7680", "--search", "optuna", "--scheduler", "none"),
}


def measured(folder: Path) -> int:
    """How often trials were measured so far."""
    return sum(len(t.history) + bool(t.final) for t in record.load_all(Storage(str(folder))))


@pytest.mark.drill
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_five_moments(way: str, distgan: Run, tmp_path: Path) -> None:
    if way == "optuna":
        pytest.importorskip("optuna")
    done = distgan("tune", *OPTIONS, *WAYS[way], "--out", "whole", timeout=900)
    assert done.returncode == 0, done.stderr
    words = (*OPTIONS, *WAYS[way], "--out", "killed")
    # Of the eight measurements that halving makes, and of the twelve of the others.
    for moment in (1, 2, 4, 5, 7):
        process = subprocess.Popen(
            command("tune", *words),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(lambda least=moment: measured(tmp_path / "killed") >= least, 300)
        try:
            trainer = trainer_of(process.pid)
        except AssertionError:
            trainer = 0
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if trainer:
            # Ray's workers are in no such group; they end when they notice.
            wait_for(lambda file=Path(f"/proc/{trainer}/exe"): not file.exists(), 30)
        words = ("--resume", "killed")
    done = distgan("tune", "--resume", "killed", timeout=900)
    assert done.returncode == 0, done.stderr
    found, expected = (tuning.outcome(Storage(str(tmp_path / n))) for n in ("killed", "whole"))
    assert found == expected
