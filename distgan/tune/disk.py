"""What a search takes of the disk, and how it gives back what only losers needed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence

from torch import nn

from distgan.config.run import RunConfig
from distgan.data.sides import Sets
from distgan.data.spec import data_spec
from distgan.errors import UserError
from distgan.families import build
from distgan.families.check import shapes
from distgan.runs import checkpoint
from distgan.storage.storage import Storage
from distgan.tune import record, results
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings

HANDED_ON = ".handed-on"
"""In the folder of a search: checkpoints of members that others may take over."""
COPIES = 3
"""Of each member, whose own run may have gone on or been replaced meanwhile."""

_BESIDES = 3
"""Checkpoints besides the newest: the best, the last healthy, and the one being written."""


def describe(
    config: RunConfig, sets: Sets, settings: TuneSettings, concurrent: int, storage: Storage
) -> str:
    """One line for the user: at most how much the checkpoints and results of a search take.

    Args:
        config: of a trial; those with larger networks take more.
        concurrent: trials at a time.
    """
    one, result = sizes(config, sets)
    each = (config.output.keep_checkpoints + _BESIDES) * one
    trials = settings.samples + settings.confirm * (settings.confirm_top + 1)
    kept = trials * result + settings.confirm_top * each
    most = kept + concurrent * each
    if settings.scheduler == "pbt":
        most = kept + settings.samples * (each + COPIES * one)
    line = (
        f"disk: up to {_bytes(most)} while it goes on, {_bytes(kept)} at the end; a checkpoint is "
        f"{_bytes(one)}, and trials that are not among the best lose theirs"
    )
    if storage.local:
        free = shutil.disk_usage(storage.path()).free
        line += f"; {'only ' * (free < most)}{_bytes(free)} are free"
    return line


def sizes(config: RunConfig, sets: Sets) -> tuple[int, int]:
    """Bytes of a checkpoint, and of the networks that a complete run leaves."""
    data = data_spec(*sets)
    item = config.dtype.itemsize
    size = {role: _numbers(network) * item for role, network in shapes(config, data).items()}
    averaged = sum(size[role] for role in build(config, data).averaged)
    # Weights and Adam's two moments of all, and the averages.
    return 3 * sum(size.values()) + averaged, sum(size.values()) + averaged


def _numbers(network: nn.Module) -> int:
    return sum(t.numel() for t in (*network.parameters(), *network.buffers()))


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


class Losers:
    """Deletes the checkpoints of trials that are over and not among the best.

    What a run left besides stays: records, grids, and the generators of a complete one.
    """

    def __init__(self, storage: Storage, settings: TuneSettings) -> None:
        self._storage, self._settings = storage, settings
        self._gone: set[int] = set()

    def clear(self, trials: Sequence[Trial]) -> None:
        """Delete those that have lost by now."""
        best = results.ranked(trials, self._settings)[: self._settings.confirm_top]
        kept = {trial.number for trial in best} | self._gone
        for trial in trials:
            if trial.settled and trial.number not in kept:
                # A disk that does not let go of it now is no reason to end a search.
                with contextlib.suppress(OSError, UserError):
                    self._clear(trial)
                    self._gone.add(trial.number)

    def _clear(self, trial: Trial) -> None:
        # The index stays: who asks for the run is told what is missing.
        folder = f"{record.FOLDER}/{trial.name}/{checkpoint.FOLDER}"
        for name in self._storage.names(folder):
            if name.endswith(".pt"):
                self._storage.delete(f"{folder}/{name}")
