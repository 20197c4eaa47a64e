"""Intervals of means: quantiles of Student's t for any degrees of freedom."""

from __future__ import annotations

import math
from typing import NamedTuple

_TERMS = 200
"""Of a continued fraction, after which doubles change no more."""


class Spread(NamedTuple):
    """The standard error of an estimate, and the degrees of freedom that it is known with."""

    error: float
    freedom: float

    @property
    def half_width(self) -> float:
        """Half of the 95% interval by Student's t; nan where the error is unknown."""
        if not math.isfinite(self.error):
            return math.nan
        return quantile(0.975, self.freedom) * self.error


def total(*parts: Spread) -> Spread:
    """The spread of a sum of independent estimates, with the degrees of freedom of Satterthwaite
    (1946), which are no whole number."""
    variances = [part.error**2 for part in parts]
    whole = sum(variances)
    if not whole > 0:
        return Spread(math.sqrt(whole), sum(part.freedom for part in parts))
    # Shares of the variance, as squares of small variances would vanish.
    shares = [variance / whole for variance in variances]
    inverse = sum(share**2 / part.freedom for share, part in zip(shares, parts, strict=True))
    return Spread(math.sqrt(whole), 1 / inverse)


def quantile(probability: float, freedom: float) -> float:
    """What Student's t of so many degrees of freedom lies below with a probability.

    Args:
        probability: from 0.5 to less than 1.
        freedom: 1 or more, not necessarily whole.
    """
    # x = freedom / (freedom + t^2) falls from 1 to 0 while t rises.
    low, high = 0.0, 1.0
    while low < (x := (low + high) / 2) < high:
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
    for m in range(_TERMS, 0, -1):
        odd = -(a + m - 1) * (a + b + m - 1) * x / ((a + 2 * m - 2) * (a + 2 * m - 1))
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + odd / (1 + even / fraction)
    return math.exp(logarithm) / (a * fraction)
