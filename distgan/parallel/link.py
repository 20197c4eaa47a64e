"""Whether the ranks reach one another, and how fast, before a run relies on it."""

from __future__ import annotations

import os
import platform
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from distgan.parallel.groups import GROUPS
from distgan.parallel.world import World

SECONDS_TO_REACH = 45.0
"""For ranks that have all started, to connect; and again for the first exchange."""
_SMALL = 1_000_000
_LARGE = {"cpu": 8_000_000, "cuda": 100_000_000}
"""Bytes of the two exchanges that are timed, by kind of device."""
_SLOW = 0.05
"""Seconds of the small one, beyond which the large one is left out: a start must not wait."""
_PLACE = re.compile(r"^\[[^\]]*\]:? *")
_OF_GLOO = ("GLOO_SOCKET_IFNAME",)
_OF_NCCL = ("NCCL_SOCKET_IFNAME", "NCCL_IB_DISABLE", "NCCL_IB_HCA")


class UnreachableError(Exception):
    """Ranks did not reach one another."""


def within(seconds: float, action: Callable[[], object]) -> None:
    """Do something that may hang for ever, and no exception of which can interrupt it.

    Raises:
        UnreachableError: when it takes longer, and goes on in its thread, or fails.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            action()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise UnreachableError(f"no answer for {seconds:.0f} s")
    for error in failures:
        raise UnreachableError(_reason(error)) from error


def _reason(error: Exception) -> str:
    # Gloo and NCCL put a place in their source, or a trace, around the words that say it.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = _PLACE.sub("", lines[0]) if lines else type(error).__name__
    return line[:200]


def explain(rank: int, reason: str, gpu: bool) -> str:
    """The error message of a rank that does not reach the others."""
    there = ", ".join(name for _, name in socket.if_nameindex())
    settings = (*_OF_NCCL, *_OF_GLOO) if gpu else _OF_GLOO
    found = [f"{name}={os.environ[name]}" for name in settings if name in os.environ]
    names = "NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME" if gpu else "GLOO_SOCKET_IFNAME"
    return (
        f"the workers do not reach one another: worker {rank} on {platform.node()}: {reason} "
        f"({', '.join(found) or 'no interface is set'}; its interfaces: {there}); set {names} to "
        "the interface by which the machines reach one another, where you start distgan, and let "
        "all ports between them through"
    )


def measure(world: World) -> dict[str, Any]:
    """Time the sum of two buffers over all ranks, which all must call.

    The first exchange makes NCCL connect, and is not timed.

    Returns:
        ``bytes`` and ``seconds`` of the largest that was timed, by the slowest rank, and
        ``bytes_per_second`` that a ring all-reduce then sends from each rank: 2 (n - 1) / n of
        the buffer (Patarasuk and Yuan 2009).
    """
    seconds = _slowest(world, _timed(world, _SMALL))
    size = _SMALL
    if seconds < _SLOW:
        size = _LARGE[world.device.type]
        seconds = _slowest(world, _timed(world, size))
    sent = 2 * (world.size - 1) / world.size * size
    return {"bytes": size, "seconds": round(seconds, 6), "bytes_per_second": round(sent / seconds)}


def _timed(world: World, size: int) -> float:
    buffer = torch.zeros(size // 4, device=world.device)
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        dist.all_reduce(buffer, group=GROUPS.gradients)
        if world.device.type == "cuda":
            torch.cuda.synchronize(world.device)
        best = min(best, time.perf_counter() - start)
    return best


def _slowest(world: World, seconds: float) -> float:
    return float(world.table(torch.tensor(seconds, dtype=torch.float64)).max())
