"""A side of several processes that work at the same time: ranks of a run, or strangers."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.turns import Process, Turn, Values
from distgan.parallel import World


class Team:
    """Makes a turn with ``prepare(world, *arguments)`` in each of ``size`` processes.

    Args:
        together: whether they are ranks of one run over gloo, or each a run of its own.

    Images/s are those of all; everything else that a turn finds is the first one's.
    """

    def __init__(
        self, size: int, together: bool, prepare: Callable[..., Turn], *arguments: Any
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        meet = str(Path(self._folder.name) / "meet") if together else ""
        self._members = [
            Process(_prepare, rank, size, meet, prepare, *arguments) for rank in range(size)
        ]

    def turn(self, seconds: float) -> Values:
        """What a turn of all members found."""
        for member in self._members:
            member.begin(seconds)
        found = [member.finish() for member in self._members]
        return {**found[0], "images/s": sum(values["images/s"] for values in found)}

    def end(self) -> None:
        """End the processes."""
        for member in self._members:
            member.end()
        self._folder.cleanup()


def _prepare(
    rank: int, size: int, meet: str, prepare: Callable[..., Turn], *arguments: Any
) -> Turn:
    torch.set_num_threads(1)
    if not meet:
        return prepare(World(), *arguments)
    # Said of the gradient of a layer with one channel, whose stride there means nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=size)
    return prepare(World(rank, size), *arguments)
