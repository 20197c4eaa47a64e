"""What a benchmark declares: sides that take turns, and what their turns find."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.turns import Values

AGAIN = " again"
"""Added to the name of the first side for its second turn in each round: the A/A pair."""


class Contender(Protocol):
    """A side that runs: `benchmarks.turns.Process`, `benchmarks.team.Team`, or `InPlace`."""

    def turn(self, seconds: float) -> Values:
        """Work for about so many seconds; what was found, by name."""
        ...

    def end(self) -> None:
        """Let go of processes and files."""
        ...


@dataclass(frozen=True)
class InPlace:
    """A side in this process, for work that changes nothing about the process."""

    work: Callable[[float], Values]

    def turn(self, seconds: float) -> Values:
        """What ``work`` finds."""
        return self.work(seconds)

    def end(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Comparison:
    """Sides that are measured in turns: A, B, C, A again, and from the beginning.

    Args:
        unit: the value of a turn that is compared, such as ``images/s``; turns may find
            others besides.
        sides: by name, what starts a side; the first is beside itself in every round.
            One that raises `Unavailable` is left out, and the reason is told.
        ratios: whether the others are compared with the first, or stand for themselves.
        about: one line under the title.
        shares: which of a turn's values are percentages that add up to a whole; drawn as such.
        turns, seconds: in place of those of the benchmark, for sides that need others.
        warm: seconds of work before the first turn, which a process needs to get ready; 0: none.
    """

    name: str
    unit: str
    sides: Mapping[str, Callable[[], Contender]]
    ratios: bool = True
    about: str = ""
    shares: Sequence[str] = ()
    turns: int | None = None
    seconds: float | None = None
    warm: float = 0.5

    @property
    def order(self) -> list[str]:
        """The sides of a round."""
        return [*self.sides, next(iter(self.sides)) + AGAIN]


def _no_options(parser: argparse.ArgumentParser) -> None:
    pass


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as its module declares it, under the name ``BENCHMARK``.

    Args:
        name: the one it has in `benchmarks.frame.known.KNOWN`.
        about: the question that it answers, one line.
        compare: the comparisons, one after the other, by the options; with ``quick`` few and
            short ones. Made one at a time, when the one before is done.
        add_options: declares options of its own.
        turns, seconds: of each side; ``quick`` is the same pair under ``--quick``.
    """

    name: str
    about: str
    compare: Callable[[argparse.Namespace], Iterable[Comparison]]
    add_options: Callable[[argparse.ArgumentParser], None] = _no_options
    turns: int = 9
    seconds: float = 4.0
    quick: tuple[int, float] = (3, 1.0)
