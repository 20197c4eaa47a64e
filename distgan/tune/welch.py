"""Welch's interval of the difference of two means, with Student's t at any degrees of freedom."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

_STEPS = 200
"""Halvings, and terms of a continued fraction, after which doubles change no more."""


def interval(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """What the difference of the means lies within, ours less theirs, with 95% confidence.

    Welch (1947), with the degrees of freedom of Satterthwaite, which are no whole number.

    Args:
        ours: at least two.
        theirs: at least two.
    """
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    a, b = (statistics.variance(x) / len(x) for x in (ours, theirs))
    if a + b == 0:
        return difference, difference
    # Shares of the variance, as squares of small variances would vanish.
    share_a, share_b = a / (a + b), b / (a + b)
    freedom = 1 / (share_a**2 / (len(ours) - 1) + share_b**2 / (len(theirs) - 1))
    half = quantile(0.975, freedom) * math.sqrt(a + b)
    return difference - half, difference + half


def quantile(probability: float, freedom: float) -> float:
    """What Student's t of so many degrees of freedom lies below with a probability.

    Args:
        probability: from 0.5 to less than 1.
        freedom: 1 or more, not necessarily whole.
    """
    # x = freedom / (freedom + t^2) falls from 1 to 0 while t rises.
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        x = (low + high) / 2
        above = _incomplete_beta(freedom / 2, 0.5, x) / 2
        low, high = (x, high) if above < 1 - probability else (low, x)
    return math.sqrt(freedom * (1 - high) / high)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularized one, I_x(a, b), by its continued fraction (DLMF 8.17.22)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    logarithm = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    logarithm += a * math.log(x) + b * math.log1p(-x)
    fraction = 1.0
    for m in range(_STEPS, 0, -1):
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + odd / (1 + even / fraction)
    return math.exp(logarithm) / (a * fraction)
