"""Parsers of rates, times, shapes and numbers on a command line, and how such are shown."""

from __future__ import annotations

import math
import re

from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief

_MOST = 10_000_000
"""Upper bound of workers or nodes."""
_LONGEST_SIDE = 100_000
_SCALES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_RATE = re.compile(r"([\d.]+)\s*([kMGTmgt]?)(bit(?:/s)?|bps|b(?:/s)?|B(?:/s)?|)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_TIME = re.compile(r"([\d.]+)\s*(ns|us|ms|s)")


def parse_bandwidth(text: str) -> float:
    """Bytes a second: ``100Gbit``, ``25Gbps``, ``10G`` (of bits) or ``12.5GB/s``.

    Raises:
        UserError: for anything else.
    """
    match = _RATE.fullmatch(text.strip())
    number = _number(match.group(1)) if match else 0.0
    if match is None or number <= 0:
        raise UserError(
            f"--bandwidth {_shown(text)}: should be bits or bytes a second, such as 100Gbit "
            "or 12.5GB/s"
        )
    in_bytes = match.group(3).startswith("B")
    return number * _SCALES[match.group(2).lower()] / (1 if in_bytes else 8)


def parse_latency(text: str) -> float:
    """Seconds: ``20us``, ``0.5ms``.

    Raises:
        UserError: for anything else.
    """
    match = _TIME.fullmatch(text.strip())
    if match is None or (number := _number(match.group(1))) < 0:
        raise UserError(f"--latency {_shown(text)}: should be a time, such as 20us or 0.5ms")
    return number * _SECONDS[match.group(2)]


def parse_shape(text: str) -> ImageShape:
    """``3x64x64``: channels, height and width.

    Raises:
        UserError: for anything else.
    """
    parts = text.split("x")
    sides = [_whole(part) for part in parts]
    if len(sides) != 3 or not all(0 < side <= _LONGEST_SIDE for side in sides):
        raise UserError(f"--image {_shown(text)}: should be CHANNELSxHEIGHTxWIDTH, such as 3x64x64")
    return ImageShape(*sides)


def parse_positive(option: str, text: str) -> int:
    """A whole number of at least 1.

    Raises:
        UserError: for anything else, naming the option.
    """
    number = _whole(text)
    if not 1 <= number <= _MOST:
        raise UserError(
            f"{option} {_shown(text)}: should be a number of 1 or more, up to {_MOST:,}"
        )
    return number


def parse_price(text: str) -> float:
    """An amount of whatever currency.

    Raises:
        UserError: for anything else.
    """
    price = _number(text)
    if price < 0:
        raise UserError(f"--price {_shown(text)}: should be an amount for an hour, such as 2.5")
    return price


def significant(value: float) -> str:
    """A positive number with three significant digits or more: ``0.00263``, ``1.50``, ``1,234``."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}" if value >= 1e-4 else f"{value:.2e}"


def size(count: float) -> str:
    """Bytes in the unit that suits them, with two significant digits or more: ``1.2 GB``."""
    for scale, unit in ((1e9, "GB"), (1e6, "MB")):
        if count >= 0.9995 * scale:
            return f"{_decimal(count / scale)} {unit}"
    return f"{_decimal(count / 1e3)} kB"


def _decimal(number: float) -> str:
    return f"{number:,.0f}" if number >= 9.95 else f"{number:.1f}"


_SPANS = ((60, "s"), (60, "min"), (24, "hours"), (365.25, "days"))
"""Units of time, and how many of each make one of the next."""


def span(seconds: float) -> str:
    """A time in the unit that suits it, with two significant digits or more: ``1.7 min``."""
    for many, unit in _SPANS:
        # Of hours two days' worth, of days two years', of the others half as many again.
        if seconds < (1.5 if unit in ("s", "min") else 2) * many:
            return f"{_brief(seconds)} {unit}"
        seconds /= many
    return f"{_brief(seconds)} years"


def _brief(number: float) -> str:
    return f"{number:,.0f}" if number >= 9.95 else f"{number:.2g}"


def short_count(count: int) -> str:
    """A count as it may be typed: ``300k``, ``1.5M``; rounded to three digits."""
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= 0.9995 * scale:
            return f"{float(f'{count / scale:.3g}'):g}{letter}"
    return str(count)


def _number(text: str) -> float:
    # Negative for text that is not a finite number.
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if math.isfinite(number) else -1.0


def _whole(text: str) -> int:
    # Negative for text that is not a whole number, or has more digits than Python reads.
    return int(text) if text.isdecimal() and len(text) <= 20 else -1


def _shown(text: str) -> str:
    return text if len(text) <= 40 else brief(text)
