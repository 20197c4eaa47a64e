"""From turns to figures: medians, quartiles, and ratios of pairs on a quiet machine."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from benchmarks.frame.folder import Record
from benchmarks.turns import quartiles

Round = dict[str, dict[str, Any]]
"""The turn of each side, as `Record` has them."""
Spread = tuple[float, float, float]
"""Median, first and third quartile."""

ENOUGH = 2
"""Pairs that have to be left for the others to be dropped."""


@dataclass(frozen=True)
class Row:
    """A side of a comparison in figures.

    ``ratio`` is to the first side, round by round, None of the first itself. ``dropped`` of
    ``pairs`` were taken while others used the machine; where too few were left, ``all_kept``
    says that the figures count them all the same. ``others`` are medians of what turns found
    besides.
    """

    side: str
    value: Spread
    ratio: Spread | None
    pairs: int
    dropped: int
    all_kept: bool = False
    others: dict[str, float] = field(default_factory=dict)


def rows(record: Record, limit: float) -> list[Row]:
    """The figures of every side that was measured, the A/A pair last.

    Args:
        limit: the share of the machine from which on others' work disturbs a turn.
    """
    rounds = record.whole()
    return [_row(record, side, rounds, limit) for side in record.sides] if rounds else []


def fewest_quiet(record: Record, limit: float) -> int:
    """Pairs that nobody disturbed, of the side that has the fewest."""
    counts = [len(_quiet(record, side, record.whole(), limit)) for side in record.sides]
    return min(counts, default=0)


def _quiet(record: Record, side: str, rounds: list[Round], limit: float) -> list[Round]:
    pair = {side, record.order[0]} if _compared(record, side) else {side}
    return [found for found in rounds if all(found[s]["busy"] <= limit for s in pair)]


def _compared(record: Record, side: str) -> bool:
    first, again = record.order[0], record.order[-1]
    return first in record.sides and side != first and (record.ratios or side == again)


def _row(record: Record, side: str, rounds: list[Round], limit: float) -> Row:
    quiet = _quiet(record, side, rounds, limit)
    kept = quiet if len(quiet) >= ENOUGH else rounds
    unit, first = record.unit, record.order[0]
    values = [found[side]["values"] for found in kept]
    ratio = None
    if _compared(record, side):
        pairs = [found[side]["values"][unit] / found[first]["values"][unit] for found in kept]
        ratio = _spread(pairs)
    others = {n: statistics.median(v[n] for v in values if n in v) for n in values[0] if n != unit}
    return Row(
        side,
        _spread([v[unit] for v in values]),
        ratio,
        pairs=len(rounds),
        dropped=len(rounds) - len(quiet),
        all_kept=len(kept) > len(quiet),
        others=others,
    )


def _spread(values: list[float]) -> Spread:
    low, middle, high = quartiles(values)
    return middle, low, high
