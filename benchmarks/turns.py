"""Sides of a comparison in processes of their own, which work in turns.

Noise of the machine that lasts longer than a turn meets all sides alike; what one side
does to its process (allocator, threads, compiled kernels) does not reach the others.
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import statistics
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

Work = Callable[[], int]
"""One unit of work; returns how many images it was."""
Values = dict[str, float]
"""What a turn found, by name; the units are in the names."""
Turn = Callable[[float], Values]
"""Works for about so many seconds."""


class Unavailable(Exception):  # noqa: N818
    """A side cannot be measured here; the message says why."""


class Process:
    """A process that makes a `Turn` with ``prepare(*arguments)`` and works it when asked.

    It starts at once, and is ready when its first turn is over.
    """

    def __init__(self, prepare: Callable[..., Turn], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, prepare, arguments), daemon=True
        )
        with _deaf():
            self._process.start()
        theirs.close()

    def turn(self, seconds: float) -> Values:
        """What a turn of so many seconds found.

        Raises:
            Unavailable: as ``prepare`` raised it.
            RuntimeError: when the process died or its work failed.
        """
        self.begin(seconds)
        return self.finish()

    def begin(self, seconds: float) -> None:
        """Ask for a turn, to be had from `finish`."""
        # Where it cannot be asked, `finish` finds out why.
        with suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(seconds)

    def finish(self) -> Values:
        """What the turn found that was asked for; raises as `turn`."""
        try:
            found: Values | Exception = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            raise RuntimeError(f"the side ended with {self._process.exitcode}") from None
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


class Side:
    """A process that makes its work with ``prepare(*arguments)`` and does it when asked."""

    def __init__(self, prepare: Callable[..., Work], *arguments: Any) -> None:
        self._process = Process(timed, prepare, *arguments)
        self.turn(1.0)

    def turn(self, seconds: float) -> float:
        """Images per second over about so many seconds."""
        return self._process.turn(seconds)["images/s"]

    def end(self) -> None:
        """End the process."""
        self._process.end()


@contextmanager
def _deaf() -> Iterator[None]:
    # A process started meanwhile ignores Ctrl-C: the one that started it decides what then.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def timed(prepare: Callable[..., Work], *arguments: Any) -> Turn:
    """Turns that find how many images of a unit of work are done in a second."""
    work = prepare(*arguments)

    def turn(seconds: float) -> Values:
        images, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            images += work()
        return {"images/s": images / passed}

    return turn


def _serve(pipe: Connection, prepare: Callable[..., Turn], arguments: tuple[Any, ...]) -> None:
    try:
        turn = prepare(*arguments)
        while True:
            pipe.send(turn(pipe.recv()))
    except EOFError:
        pass  # Whoever asked is gone.
    except Unavailable as reason:
        pipe.send(reason)
    except Exception:
        pipe.send(RuntimeError(traceback.format_exc()))


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
    low, middle, high = quartiles(pairs)
    return middle, low, high


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """First quartile, median, third quartile; of one value, that value."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
