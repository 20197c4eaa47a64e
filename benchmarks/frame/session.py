"""Taking turns: starts the sides of a comparison, measures rounds, and ends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.frame.comparison import AGAIN, Comparison, Contender
from benchmarks.frame.figures import fewest_quiet
from benchmarks.frame.folder import Folder, Record
from benchmarks.frame.noise import Usage
from benchmarks.frame.progress import Shown
from benchmarks.turns import Unavailable

FAILED = "failed:"
"""Begins the reason of a side that broke, rather than being unavailable."""


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    Args:
        turns: pairs of turns that are wanted of each side.
        seconds: of a turn.
        busy: the share of the machine from which on others' work disturbs a turn.
        patient: whether up to half as many rounds again are added for disturbed pairs.
    """

    turns: int
    seconds: float
    busy: float
    patient: bool

    @property
    def most(self) -> int:
        """Rounds, whatever happens."""
        return self.turns + self.turns // 2 * self.patient

    def enough(self, record: Record) -> bool:
        """Whether a comparison needs no more rounds."""
        rounds = len(record.whole())
        return rounds >= self.most or fewest_quiet(record, self.busy) >= self.turns


def measure(comparison: Comparison, pace: Pace, folder: Folder, shown: Shown) -> Record:
    """Measure a comparison from where the folder has it."""
    record = folder.begin(comparison)
    if record.complete:
        return record
    per_round = len(comparison.order)
    shown.begin(comparison.name, len(record.whole()) * per_round, pace.turns * per_round)
    with _started(comparison, folder, record, shown) as contenders:
        while record.sides and not pace.enough(record):
            _round(contenders, record, pace, folder, shown)
    folder.end(record)
    return record


def _round(
    contenders: dict[str, Contender], record: Record, pace: Pace, folder: Folder, shown: Shown
) -> None:
    number = len(record.whole())
    for place, side in enumerate(record.sides):
        total = max(pace.turns, number + 1) * len(record.sides)
        shown.update(side, number * len(record.sides) + place, total)
        before = Usage.now()
        values = contenders[side.removesuffix(AGAIN)].turn(pace.seconds)
        folder.add(record, number, side, values, Usage.now().busy_since(before))


@contextmanager
def _started(
    comparison: Comparison, folder: Folder, record: Record, shown: Shown
) -> Iterator[dict[str, Contender]]:
    # All are started before any is waited for: they get ready side by side.
    running: dict[str, Contender] = {}
    first = next(iter(comparison.sides))
    record.unavailable.clear()  # What was missing may have been installed since.
    try:
        for name, start in comparison.sides.items():
            try:
                running[name] = start()
            except Unavailable as reason:
                _leave_out(name, first, str(reason), folder, record, shown)
            except RuntimeError as error:
                _leave_out(name, first, f"{FAILED} {error}", folder, record, shown)
        for name, contender in list(running.items()) if comparison.warm else ():
            shown.update(f"{name}, getting ready", 0, 1)
            try:
                contender.turn(comparison.warm)
            except Unavailable as reason:
                running.pop(name).end()
                _leave_out(name, first, str(reason), folder, record, shown)
            except RuntimeError as error:
                # One side that breaks must not cost the others; its reason is in the results.
                running.pop(name).end()
                _leave_out(name, first, f"{FAILED} {error}", folder, record, shown)
        yield running
    finally:
        for contender in running.values():
            contender.end()


def _leave_out(
    name: str, first: str, reason: str, folder: Folder, record: Record, shown: Shown
) -> None:
    folder.leave_out(record, name, reason)
    if name == first:
        folder.leave_out(record, name + AGAIN, reason)
    shown.note(f"without {name}: {reason}")
