"""Sides of a comparison in processes of their own, which work in turns.

Noise of the machine that lasts longer than a turn meets all sides alike; what one side
does to its process (allocator, threads, compiled kernels) does not reach the others.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
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


def interleave(sides: dict[str, Side], turns: int, seconds: float) -> dict[str, list[float]]:
    """Images per second of every turn: A, B, A, B, and so on, then end the sides."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _, (name, side) in itertools.product(range(turns), sides.items()):
        found[name].append(side.turn(seconds))
    for side in sides.values():
        side.end()
    return found


def ratio(found: dict[str, list[float]], side: str, to: str) -> tuple[float, float, float]:
    """Median and quartiles of the ratio of two sides, turn by turn."""
    pairs = [a / b for a, b in zip(found[side], found[to], strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4)
    return middle, low, high
