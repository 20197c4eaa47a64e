"""Sides of a comparison in processes of their own, which work in turns.

Noise of the machine that lasts longer than a turn meets all sides alike; what one side
does to its process (allocator, threads, compiled kernels) does not reach the others.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Work = Callable[[], int]
"""One unit of work; returns how many images it was."""


class Side:
    """A process that makes its work with ``prepare(*arguments)`` and does it when asked."""

    def __init__(self, prepare: Callable[..., Work], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, prepare, arguments), daemon=True
        )
        self._process.start()
        self.turn(1.0)

    def turn(self, seconds: float) -> float:
        """Images per second over about so many seconds."""
        self._pipe.send(seconds)
        speed: float = self._pipe.recv()
        return speed

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, prepare: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    work = prepare(*arguments)
    while True:
        seconds = pipe.recv()
        images, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            images += work()
        pipe.send(images / passed)


@dataclass(frozen=True)
class Turns:
    """What was found in the turns of each side, in their order.

    Args:
        speeds: images per second.
        others: cores that were not ours during the turn: kept busy by other processes, or
            taken by the machine's host. Zero where the system does not say.
    """

    speeds: dict[str, list[float]]
    others: dict[str, list[float]]

    def pairs(self, side: str, to: str, most: float) -> list[tuple[float, float]]:
        """Speeds of two sides, turn by turn, where neither had more than ``most`` cores taken."""
        speeds = zip(self.speeds[side], self.speeds[to], strict=True)
        others = zip(self.others[side], self.others[to], strict=True)
        return [pair for pair, taken in zip(speeds, others, strict=True) if max(taken) <= most]


def measure(sides: dict[str, Side], turns: int, seconds: float) -> Turns:
    """Turns of all sides: A, B, A, B, and so on, then end them."""
    found = Turns({name: [] for name in sides}, {name: [] for name in sides})
    for _, (name, side) in itertools.product(range(turns), sides.items()):
        before, start = others(), time.perf_counter()
        found.speeds[name].append(side.turn(seconds))
        taken = (others() - before) / (time.perf_counter() - start)
        found.others[name].append(max(0.0, taken))
    for side in sides.values():
        side.end()
    return found


def interleave(sides: dict[str, Side], turns: int, seconds: float) -> dict[str, list[float]]:
    """Images per second of every turn: A, B, A, B, and so on, then end the sides."""
    return measure(sides, turns, seconds).speeds


def others() -> float:
    """Seconds of all cores so far that went neither to us nor to nobody (Linux)."""
    if not Path("/proc/stat").exists():
        return 0.0
    ticks = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    user, nice, system, _, _, interrupts, soft, stolen = ticks
    every = user + nice + system + interrupts + soft + stolen
    return (every - _ours(os.getpid())) / os.sysconf("SC_CLK_TCK")


def _ours(root: int) -> int:
    """Ticks that a process and all that descend from it have used, those that ended included."""
    children: dict[int, list[int]] = {}
    used: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(file.parent.name)
        children.setdefault(int(fields[1]), []).append(process)
        used[process] = sum(map(int, fields[11:15]))
    found = [root]
    for process in found:
        found += children.get(process, [])
    return sum(used.get(process, 0) for process in found)


def ratio(found: dict[str, list[float]], side: str, to: str) -> tuple[float, float, float]:
    """Median and quartiles of the ratio of two sides, turn by turn."""
    return quartiles(list(zip(found[side], found[to], strict=True)))


def quartiles(pairs: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Median and quartiles of the ratios of at least two pairs."""
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    return middle, low, high
