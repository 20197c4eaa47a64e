"""Values that change while a run trains: learning rates, penalties, half-lives.

Time is counted in images seen, so that a schedule means the same at any batch size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, GetCoreSchemaHandler
from pydantic_core import core_schema

from distgan.config.settings import parse_count

_SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda t: (1 - math.cos(math.pi * t)) / 2,
    "linear": lambda t: t,
}
"""Interpolation from ``start`` (0) to ``end`` (1) after a share t in [0, 1] of the images."""


class Schedule:
    """A number that moves from ``start`` to ``end`` over some images, then stays.

    As text, which is what a command line and a YAML file hold: ``2e-4`` for a constant,
    ``2e-4:5e-5:20M`` for half a cosine (Loshchilov and Hutter, ICLR 2017, equation 5,
    without restarts), ``2e-4:0:20M:linear`` for a straight line, ``2e-4:0:10M-20M:linear`` for one
    that begins after 10M images, ``2e-4,1e-4@5M,5e-5@8M`` for values that each hold from so many
    images on.
    """

    __slots__ = ("begin", "end", "images", "shape", "start", "steps")

    def __init__(
        self,
        start: float,
        end: float | None = None,
        images: int = 0,
        shape: str = "cosine",
        steps: tuple[tuple[float, int], ...] = (),
        begin: int = 0,
    ) -> None:
        self.start, self.end = float(start), float(start if end is None else end)
        self.begin, self.images, self.shape = begin, images, shape
        self.steps = steps
        if steps:
            self.end, self.images = steps[-1]

    @property
    def values(self) -> tuple[float, ...]:
        """Those that it starts with, ends with, and steps to; all others lie between them."""
        return (self.start, self.end, *(value for value, _ in self.steps))

    @property
    def constant(self) -> bool:
        """Whether the value never changes."""
        return len(set(self.values)) == 1

    @property
    def is_zero(self) -> bool:
        """Whether the value is always 0."""
        return not any(self.values)

    def scaled(self, factor: float, tidy: Callable[[float], float] = float) -> Schedule:
        """Every value times a factor, and through ``tidy``."""
        steps = tuple((tidy(value * factor), images) for value, images in self.steps)
        start, end = tidy(self.start * factor), tidy(self.end * factor)
        return Schedule(start, end, self.images, self.shape, steps, self.begin)

    def at(self, images_seen: float) -> float:
        """The value after that many images."""
        if self.constant:
            return self.start
        if self.steps:
            past = [value for value, images in self.steps if images <= images_seen]
            return past[-1] if past else self.start
        share = max(0, images_seen - self.begin) / (self.images - self.begin)
        way = _SHAPES[self.shape](min(1.0, share))
        return self.start + (self.end - self.start) * way

    def __str__(self) -> str:
        if self.constant:
            return _digits(self.start)
        if self.steps:
            later = (f"{_digits(value)}@{images}" for value, images in self.steps)
            return ",".join((_digits(self.start), *later))
        span = f"{self.begin}-{self.images}" if self.begin else str(self.images)
        text = f"{_digits(self.start)}:{_digits(self.end)}:{span}"
        return text if self.shape == "cosine" else f"{text}:{self.shape}"

    def __repr__(self) -> str:
        return f"Schedule({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    @property
    def _fields(self) -> tuple[object, ...]:
        # Two constants of the same value are equal whatever their number of images and shape.
        if self.constant:
            return (self.start,)
        return self.start, self.end, self.begin, self.images, self.shape, self.steps

    @classmethod
    def parse(cls, value: Any) -> Schedule:
        """A number, or text as above.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and "@" in value:
            return cls._stepped(value)
        parts = value.split(":") if isinstance(value, str) else [value]
        # Alone "1e-3" and "-5" are numbers, which are refused below.
        span = re.fullmatch("([^-]+)-([^-]+)", parts[2]) if len(parts) > 2 else None
        places = span.groups() if span else parts[2:3]
        try:
            numbers = [float(parse_count(part)) for part in (*parts[:2], *places)]
            whole = all(math.isfinite(number) for number in numbers)
        except (TypeError, ValueError):
            whole = False
        shape = parts[3] if len(parts) == 4 else "cosine"
        if not whole or len(parts) not in (1, 3, 4) or shape not in _SHAPES:
            raise ValueError(
                "should be a number, or START:END:IMAGES or START:END:IMAGES:linear for one "
                "that changes, such as 2e-4:5e-5:20M, or 2e-4:0:10M-20M:linear for one that "
                "begins to change later, or steps such as 2e-4,1e-4@5M"
            )
        if len(parts) == 1:
            return cls(numbers[0])
        begin, images = numbers[2:] if span else (0.0, numbers[2])
        if not 0 <= begin < images or not (begin.is_integer() and images.is_integer()):
            raise ValueError("should change over at least one image")
        return cls(numbers[0], numbers[1], int(images), shape, begin=int(begin))

    @classmethod
    def _stepped(cls, text: str) -> Schedule:
        """``START,VALUE@IMAGES,...``, the images rising.

        Raises:
            ValueError: for anything else.
        """
        first, *later = text.split(",")
        try:
            start = float(parse_count(first))
            found = [(float(parse_count(a)), float(parse_count(b))) for a, b in map(_pair, later)]
        except (TypeError, ValueError):
            found, start = [], math.nan
        places = [0.0, *(images for _, images in found)]
        finite = all(map(math.isfinite, (start, *places, *(value for value, _ in found))))
        rising = all(a < b for a, b in pairwise(places))
        if not found or not finite or not rising or not all(p.is_integer() for p in places):
            raise ValueError(
                "should be START,VALUE@IMAGES,VALUE@IMAGES..., each VALUE from so many images on, "
                "in rising order, such as 2e-4,1e-4@5M,5e-5@8M"
            )
        return cls(start, steps=tuple((value, int(images)) for value, images in found))

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Read with `parse`, written as a number where it is constant, else as text."""
        dump = core_schema.plain_serializer_function_ser_schema(
            lambda schedule: schedule.start if schedule.constant else str(schedule)
        )
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=dump)


def _pair(text: str) -> tuple[str, str]:
    value, images = text.split("@")
    return value, images


def _digits(number: float) -> str:
    """The shortest text that reads back as exactly this number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _within(low: float, high: float, words: str) -> AfterValidator:
    def check(schedule: Schedule) -> Schedule:
        if not all(low <= value <= high for value in schedule.values):
            raise ValueError(f"should be {words}")
        return schedule

    return AfterValidator(check)


def _positive_at_first(schedule: Schedule) -> Schedule:
    before = (schedule.start, *(value for value, _ in schedule.steps[:-1]))
    if min(before) <= 0 or schedule.end < 0:
        raise ValueError("should be greater than 0; only the END of a schedule may be 0")
    return schedule


Rate = Annotated[Schedule, AfterValidator(_positive_at_first)]
"""A learning rate: positive, though it may end at 0."""
Decay = Annotated[Schedule, _within(0.0, 1 - 1e-9, "at least 0 and less than 1")]
"""A decay of a running mean, in [0, 1)."""
Strength = Annotated[Schedule, _within(0.0, math.inf, "at least 0")]
"""A weight of a term of the loss, or a number of images: 0 or more."""
Share = Annotated[Schedule, _within(0.0, 1.0, "from 0 to 1")]
"""A probability or a share, in [0, 1]."""
