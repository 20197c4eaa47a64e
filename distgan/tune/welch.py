"""Welch's interval of the difference of two means."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from distgan.metrics import student


def interval(
    ours: Sequence[float], theirs: Sequence[float], comparisons: int = 1
) -> tuple[float, float] | None:
    """What the difference of the means lies within, ours less theirs, with 95% confidence.

    Welch (1947), with the degrees of freedom of Satterthwaite. Of several comparisons, all
    intervals together hold with 95% (Bonferroni): each with 1 - 5% / comparisons.

    Args:
        ours: at least two.
        theirs: at least two.
        comparisons: how many intervals are looked at together.

    Returns:
        None where the values of neither side vary, as then nothing says how far they may.
    """
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    spread = student.total(
        *(
            student.Spread((statistics.variance(x) / len(x)) ** 0.5, len(x) - 1)
            for x in (ours, theirs)
        )
    )
    if spread.error == 0:
        return None
    half = student.quantile(1 - 0.025 / comparisons, spread.freedom) * spread.error
    return difference - half, difference + half
