"""What one hyperparameter may be, as text and as a distribution.

To add a kind, write its class here and name it in `KINDS`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distgan.config.schedule import Schedule

Raw = float | int | str | bool
"""What a search chooses: a value, or the factor of one."""


_EXAMPLES, _FEW_EXAMPLES = 64, 4
"""Values of a range that are tried: of whole numbers, each of which may not fit; of others."""


class Dimension(ABC):
    """What one setting may be.

    ``of`` names the setting that it goes by: its own, in the recipe, or another's, as the
    trial has it. A choice is a number u in [0, 1), which `at` makes into something raw, which
    `value` makes into the setting's value.
    """

    of: str = ""
    free: bool = True
    """Whether there is anything to choose."""

    @abstractmethod
    def at(self, u: float) -> Raw:
        """What u in [0, 1) stands for, uniform in u."""

    @abstractmethod
    def ends(self) -> Sequence[Raw]:
        """The extremes, or all there is: what has to fit the configuration."""

    def examples(self) -> Sequence[Raw]:
        """The ends and some between, all of few: what the configuration is asked about."""
        return self.ends()

    @abstractmethod
    def home(self, own: Any, other: Any) -> Raw:
        """What stands for the recipe's own value, as nearly as there is.

        Args:
            other: the recipe's value of the setting ``of``.
        """

    @abstractmethod
    def perturb(self, raw: Raw, u: float) -> Raw:
        """A neighbour, by u in [0, 1): 1.2 or 0.8 times a number (Jaderberg et al. 2017)."""

    def value(self, raw: Raw, base: Any) -> Any:
        """The setting's value.

        Args:
            base: the value of the setting ``of``, where there is one.
        """
        return raw


@dataclass(frozen=True)
class Interval(Dimension):
    """A number between two, uniform itself or in its logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"its bounds are {self.low:g} and {self.high:g}; give LOW, then HIGH")
        if self.log and self.low <= 0:
            raise ValueError(f"its lower bound is {self.low:g}; a logarithm wants more than 0")

    def at(self, u: float) -> Raw:  # noqa: D102
        if self.whole:
            # Both ends are included.
            return int(self.low + math.floor(u * (self.high - self.low + 1)))
        if self.log:
            return self._inside(self.low * (self.high / self.low) ** u)
        return self._inside(self.low + (self.high - self.low) * u)

    def ends(self) -> Sequence[Raw]:  # noqa: D102
        return (self._whole(self.low), self._whole(self.high))

    def examples(self) -> Sequence[Raw]:  # noqa: D102
        count = min(int(self.high - self.low) + 1, _EXAMPLES) if self.whole else _FEW_EXAMPLES
        inner = [self.at(step / count) for step in range(count)]
        return tuple(dict.fromkeys([*self.ends(), *inner]))

    def home(self, own: Any, other: Any) -> Raw:  # noqa: D102
        start = own.start if isinstance(own, Schedule) else own
        return self._inside(float(start))

    def perturb(self, raw: Raw, u: float) -> Raw:  # noqa: D102
        assert not isinstance(raw, str), "numbers only"
        moved = float(raw) * (1.2 if u < 0.5 else 0.8)
        if self.whole and round(moved) == raw:
            moved = float(raw) + (1 if u < 0.5 else -1)
        return self._inside(moved)

    def _inside(self, number: float) -> Raw:
        return self._whole(min(max(_tidy(number), self.low), self.high))

    def _whole(self, number: float) -> Raw:
        return round(number) if self.whole else number


@dataclass(frozen=True)
class Choice(Dimension):
    """One of several, in an order in which neighbours are alike."""

    values: tuple[Raw, ...]

    def __post_init__(self) -> None:
        if len(self.values) < 1:
            raise ValueError("it holds nothing to choose from")
        if len(set(self.values)) < len(self.values):
            raise ValueError("it names a value twice; name each once")

    def at(self, u: float) -> Raw:  # noqa: D102
        return self.values[int(u * len(self.values))]

    def ends(self) -> Sequence[Raw]:  # noqa: D102
        return self.values

    def home(self, own: Any, other: Any) -> Raw:  # noqa: D102
        start = own.start if isinstance(own, Schedule) and own.constant else own
        return next((value for value in self.values if value == start), self.values[0])

    def perturb(self, raw: Raw, u: float) -> Raw:  # noqa: D102
        place = self.values.index(raw) + (1 if u < 0.5 else -1)
        return self.values[min(max(place, 0), len(self.values) - 1)]


@dataclass(frozen=True)
class Scale(Interval):
    """A factor of the recipe's own value, which may be a schedule; uniform in its logarithm."""

    log: bool = True

    def home(self, own: Any, other: Any) -> Raw:  # noqa: D102
        return self._inside(1.0)

    def value(self, raw: Raw, base: Any) -> Any:  # noqa: D102
        return _times(base, float(raw))


@dataclass(frozen=True)
class Ratio(Scale):
    """A factor of what the trial has for another setting, such as D's learning rate over G's."""

    of: str = ""

    def home(self, own: Any, other: Any) -> Raw:  # noqa: D102
        start, against = (v.start if isinstance(v, Schedule) else float(v) for v in (own, other))
        return self._inside(start / against) if against else self._inside(1.0)


@dataclass(frozen=True)
class Same(Dimension):
    """Whatever the trial has for another setting."""

    of: str = ""
    free: bool = False

    def at(self, u: float) -> Raw:  # noqa: D102
        return 1

    def ends(self) -> Sequence[Raw]:  # noqa: D102
        return (1,)

    def home(self, own: Any, other: Any) -> Raw:  # noqa: D102
        return 1

    def perturb(self, raw: Raw, u: float) -> Raw:  # noqa: D102
        return raw

    def value(self, raw: Raw, base: Any) -> Any:  # noqa: D102
        return base


def _times(base: Any, factor: float) -> Any:
    if isinstance(base, Schedule):
        return base.scaled(factor, _tidy)
    return round(_tidy(base * factor)) if isinstance(base, int) else _tidy(base * factor)


def _tidy(number: float) -> float:
    # What people read, type and compare; a search does not see the rest.
    return float(f"{number:.4g}")


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word!r} should be a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word!r} should be a finite number")
    return number


def _scalar(word: str) -> Raw:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(word, word)


def _interval(log: bool = False, whole: bool = False) -> Callable[[list[str]], Dimension]:
    return lambda words: Interval(_number(words[0]), _number(words[1]), log, whole)


@dataclass(frozen=True)
class Kind:
    """How a kind is written: so many words, or any number from 1, and what they make."""

    form: str
    words: int | Literal["any"]
    make: Callable[[list[str]], Dimension]


KINDS: dict[str, Kind] = {
    "uniform": Kind("uniform(LOW, HIGH)", 2, _interval()),
    "loguniform": Kind("loguniform(LOW, HIGH)", 2, _interval(log=True)),
    "randint": Kind("randint(LOW, HIGH)", 2, _interval(whole=True)),
    "choice": Kind("choice(A, B, ...)", "any", lambda ws: Choice(tuple(map(_scalar, ws)))),
    "scale": Kind("scale(LOW, HIGH)", 2, lambda ws: Scale(_number(ws[0]), _number(ws[1]))),
    "ratio": Kind(
        "ratio(SETTING, LOW, HIGH)",
        3,
        lambda ws: Ratio(_number(ws[1]), _number(ws[2]), of=ws[0]),
    ),
    "same": Kind("same(SETTING)", 1, lambda ws: Same(of=ws[0])),
}
"""How the kinds are written."""


def parse(text: str) -> Dimension:
    """A dimension from text such as ``loguniform(1e-5, 1e-3)``.

    Raises:
        ValueError: saying what is wrong with it.
    """
    name, bracket, inside = text.strip().partition("(")
    forms = "; ".join(kind.form for kind in KINDS.values())
    if name.strip() not in KINDS or not bracket or not inside.endswith(")"):
        raise ValueError(f"should be one of {forms}")
    kind = KINDS[name.strip()]
    words = [word.strip().strip("'\"") for word in inside[:-1].split(",") if word.strip()]
    if kind.words != "any" and len(words) != kind.words:
        raise ValueError(f"should be {kind.form}")
    return kind.make(words)
