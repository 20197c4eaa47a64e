"""Values that change while a run trains: learning rates, penalties, half-lives.

Time is counted in images seen, so that a schedule means the same at any batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    without restarts), ``2e-4:0:20M:linear`` for a straight line.
    """

    __slots__ = ("end", "images", "shape", "start")

    def __init__(
        self, start: float, end: float | None = None, images: int = 0, shape: str = "cosine"
    ) -> None:
        self.start, self.end = float(start), float(start if end is None else end)
        self.images, self.shape = images, shape

    @property
    def constant(self) -> bool:
        """Whether the value never changes."""
        return self.start == self.end

    @property
    def is_zero(self) -> bool:
        """Whether the value is always 0."""
        return self.start == self.end == 0

    def at(self, images_seen: float) -> float:
        """The value after that many images."""
        if self.constant:
            return self.start
        way = _SHAPES[self.shape](min(1.0, images_seen / self.images))
        return self.start + (self.end - self.start) * way

    def __str__(self) -> str:
        if self.constant:
            return _digits(self.start)
        text = f"{_digits(self.start)}:{_digits(self.end)}:{self.images}"
        return text if self.shape == "cosine" else f"{text}:{self.shape}"

    def __repr__(self) -> str:
        return f"Schedule({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._fields == other._fields

    def __hash__(self) -> int:
        return hash(self._fields)

    @property
    def _fields(self) -> tuple[float | int | str, ...]:
        # Two constants of the same value are equal whatever their number of images and shape.
        if self.constant:
            return (self.start,)
        return self.start, self.end, self.images, self.shape

    @classmethod
    def parse(cls, value: Any) -> Schedule:
        """A number, or text as above.

        Raises:
            ValueError: for anything else.
        """
        if isinstance(value, cls):
            return value
        parts = value.split(":") if isinstance(value, str) else [value]
        try:
            numbers = [float(parse_count(part)) for part in parts[:3]]
            whole = all(math.isfinite(number) for number in numbers)
        except (TypeError, ValueError):
            whole = False
        shape = parts[3] if len(parts) == 4 else "cosine"
        if not whole or len(parts) not in (1, 3, 4) or shape not in _SHAPES:
            raise ValueError(
                "should be a number, or START:END:IMAGES or START:END:IMAGES:linear for one "
                "that changes, such as 2e-4:5e-5:20M"
            )
        if len(parts) > 1 and (numbers[2] < 1 or not numbers[2].is_integer()):
            raise ValueError("should change over at least one image")
        if len(parts) == 1:
            return cls(numbers[0])
        return cls(numbers[0], numbers[1], int(numbers[2]), shape)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Read with `parse`, written as a number where it is constant, else as text."""
        dump = core_schema.plain_serializer_function_ser_schema(
            lambda schedule: schedule.start if schedule.constant else str(schedule)
        )
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=dump)


def _digits(number: float) -> str:
    """The shortest text that reads back as exactly this number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _within(low: float, high: float, words: str) -> AfterValidator:
    def check(schedule: Schedule) -> Schedule:
        if not all(low <= value <= high for value in (schedule.start, schedule.end)):
            raise ValueError(f"should be {words}")
        return schedule

    return AfterValidator(check)


def _positive_at_first(schedule: Schedule) -> Schedule:
    if schedule.start <= 0 or schedule.end < 0:
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
