"""How long ranks wait for one another: not long in a step, and long for storage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.parallel import World, groups
from distgan.runs import checkpoint

from . import ranks
from .test_health import run_here, settings

pytestmark = pytest.mark.alone

STEP, STORAGE = 6, 15
"""Seconds of the limit of a step, and of one checkpoint."""


def _slow_storage(world: World, folder: Path, patient: bool) -> str:
    """How a run ends whose rank 0 waits for storage longer than a step may take."""
    save = checkpoint.Writer.save

    def slowly(self: checkpoint.Writer, *arguments: Any, **named: Any) -> None:
        time.sleep(STORAGE)
        save(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "SECONDS_OF_A_STEP", STEP)
        patch.setattr(checkpoint.Writer, "save", slowly)
        if not patient:
            patch.setattr(World, "meet", lambda world: None)
        groups.GROUPS.separate(torch.device("cpu"))
        changes = {"images": 1_280, "output__checkpoint_every": 640, "output__log_every": 1_280}
        try:
            run_here(world, settings(**changes), folder)
        except RuntimeError as error:
            return str(error)
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("patient", [True, pytest.param(False, marks=pytest.mark.drill)])
def test_slow_storage_of_rank_0_ends_no_run(tmp_path: Path, patient: bool) -> None:
    found = ranks.on_ranks(2, _slow_storage, tmp_path, tmp_path / "run", patient)
    if patient:
        assert found == ["", ""]
    else:
        assert "gloo" in found[1], "the comparison cannot fail"
