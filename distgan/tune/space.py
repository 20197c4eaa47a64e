"""The space of a search: some settings of a recipe, and what each of them may be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from distgan import draws
from distgan.config.run import RunConfig
from distgan.config.schedule import Schedule
from distgan.config.settings import leaves, override, unknown_setting
from distgan.errors import UserError
from distgan.storage.textfiles import parse_yaml
from distgan.tune.dimensions import Choice, Dimension, Interval, Raw, Scale, parse

Point = dict[str, Raw]
"""What a search chose for every setting that is free; empty for the recipe as it is."""

_RESAMPLE = 0.25
"""How often PBT draws a setting anew instead of moving it (Jaderberg et al. 2017)."""
_STEPS = 3
"""Values that a grid takes of an interval."""

CHANGEABLE = (
    "generator.optimizer.",
    "discriminator.optimizer.",
    "discriminator.penalty.",
    "generator.ema.",
    "generator.clip_norm",
    "discriminator.clip_norm",
    "generator.top_k",
    "discriminator.auxiliary",
    "discriminator.augment.probability",
    "optimizer.",
    "ema.",
    "clip_norm",
    "beta",
    "free_bits",
)
"""What may change while a run trains, with its state kept: rates, decays, weights."""


class Space:
    """Settings by dotted name, each checked against the configuration it is to change.

    Args:
        base: the recipe's configuration.
        texts: what each may be, as `dimensions.parse` reads it.
        source: where the texts come from, for errors.

    Raises:
        UserError: for a setting that does not exist, or a range that the configuration refuses.
    """

    def __init__(self, base: RunConfig, texts: Mapping[str, str], source: str = "--space") -> None:
        if not texts:
            raise UserError(f"{source}: names no setting; give some, such as {EXAMPLE}")
        self.base, self.texts = base, dict(texts)
        self._own = {setting.name: setting.value for setting in leaves(base)}
        self._fields: dict[tuple[tuple[str, Raw], ...], dict[str, Any]] = {(): self._own}
        self._dimensions = {name: _parse(name, text, source) for name, text in texts.items()}
        for name, dimension in self._dimensions.items():
            for known in filter(None, (name, dimension.of)):
                self._check_known(known, name, source)
        self._after = self._in_order(source)
        if not self.free:
            raise UserError(f"{source}: leaves nothing to choose; give a range, such as {EXAMPLE}")
        for name in self._dimensions:
            self._check_values(name, source)

    def _check_known(self, known: str, name: str, source: str) -> None:
        where = f"{source} {name}={self.texts[name]}"
        for start, reason in _NO_DIMENSIONS.items():
            if known == start or (start.endswith(".") and known.startswith(start)):
                raise UserError(f"{where}: {known} is the same in all trials; {reason}")
        try:
            chosen = self._variant_with(known)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        if chosen is None:
            raise UserError(f"{where}: {unknown_setting(known, self.base)[2:]}")

    def _variant_with(self, name: str) -> Point | None:
        """What to choose of a network, an augmentation or the like that has a setting.

        Nothing where the recipe has it; None where no variant that the space names has.
        """
        if name in self._own:
            return {}
        decides = f"{name.rpartition('.')[0]}.name"
        dimension = self._dimensions.get(decides)
        for value in dimension.ends() if isinstance(dimension, Choice) else ():
            if name in self._settings(((decides, value),)):
                return {decides: value}
        return None

    def _settings(self, chosen: tuple[tuple[str, Raw], ...]) -> dict[str, Any]:
        """The settings that the recipe has with other networks and the like chosen."""
        if chosen not in self._fields:
            changed = override(self.base, dict(chosen))
            self._fields[chosen] = {setting.name: setting.value for setting in leaves(changed)}
        return self._fields[chosen]

    def _in_order(self, source: str) -> list[str]:
        """The settings, each after the one that it follows."""
        found: list[str] = []
        for name in self._dimensions:
            chain = [name]
            while (of := self._dimensions[chain[-1]].of) in self._dimensions:
                if of in chain:
                    raise UserError(
                        f"{source} {name}={self.texts[name]}: follows itself "
                        f"({' -> '.join([*chain, of])}); give one of them a range"
                    )
                chain.append(of)
            found += [each for each in reversed(chain) if each not in found]
        return found

    def _check_values(self, name: str, source: str) -> None:
        # By itself first, so that the error names the one that does not fit.
        dimension, where = self._dimensions[name], f"{source} {name}={self.texts[name]}"
        others = {**(self._variant_with(name) or {}), **(self._variant_with(dimension.of) or {})}
        own = self._settings(tuple(others.items()))
        base = own.get(dimension.of or name)
        if isinstance(dimension, Scale):
            if isinstance(base, (bool, str)) or base is None or is_zero(base):
                raise UserError(
                    f"{where}: the recipe's {dimension.of or name} is {base}, which no factor "
                    "changes; give values, as in uniform(LOW, HIGH)"
                )
        elif isinstance(dimension, Interval) and not dimension.whole and _is_whole(own[name]):
            raise UserError(
                f"{where}: {name} is a whole number, and this range holds fractions; use "
                f"randint({dimension.low:.0f}, {dimension.high:.0f}), or choice(A, B, ...)"
            )
        for value in dimension.examples():
            try:
                override(self.base, self.changes({**others, name: value}))
            except UserError as error:
                raise UserError(f"{where}: {error}") from None

    def check(self, points: Iterable[Point], source: str = "--space") -> None:
        """See that points are configurations: settings may fit alone and not together.

        Raises:
            UserError: for the first that is none.
        """
        for point in points:
            changes = self.changes(point)
            try:
                override(self.base, changes)
            except UserError as error:
                named = ", ".join(f"{name}={value}" for name, value in changes.items())
                raise UserError(
                    f"{source}: holds {named[:200]}, which no run can have: {error}"
                ) from None

    @property
    def free(self) -> list[str]:
        """The settings that there is a choice for."""
        return [name for name, dimension in self._dimensions.items() if dimension.free]

    def dimension(self, name: str) -> Dimension:
        """What a setting may be."""
        return self._dimensions[name]

    def changes(self, point: Point) -> dict[str, Any]:
        """The values of the settings at a point; those it does not name stay as they are.

        A setting that only some variants have, such as ``discriminator.augment.target`` of ada,
        is left out where the point chooses another.
        """
        found: dict[str, Any] = {}
        own = self._settings(self._chosen(point))
        for name in self._after:
            dimension = self._dimensions[name]
            base = found.get(dimension.of or name, own.get(dimension.of or name))
            if name not in own or (dimension.of and base is None):
                continue
            if name in point:
                found[name] = dimension.value(point[name], base)
            elif point and not dimension.free:
                found[name] = base
        return found

    def _chosen(self, point: Point) -> tuple[tuple[str, Raw], ...]:
        return tuple((n, v) for n, v in point.items() if n.endswith(".name"))

    def key(self, point: Point) -> frozenset[tuple[str, Any]]:
        """The same for points that are one configuration; empty for the recipe as it is."""
        own = self._settings(self._chosen(point))
        return frozenset(
            (name, plain(value))
            for name, value in self.changes(point).items()
            if plain(value) != plain((self._own if name.endswith(".name") else own)[name])
        )

    def home(self) -> Point:
        """The point that comes nearest to the recipe as it is."""
        return {name: self._home(name) for name in self.free}

    def _home(self, name: str) -> Raw:
        dimension = self._dimensions[name]
        if (value := self._own.get(name)) is None:
            # Of another variant than the recipe's, where it counts for nothing.
            return dimension.ends()[0]
        return dimension.home(value, self._own.get(dimension.of or name, value))

    def draw(self, seed: int, number: int) -> Point:
        """The ``number``-th point of a random search: independent of all others."""
        numbers = draws.uniforms(seed, "tune", [range(number, number + 1)], len(self.free))[0]
        return self._at(numbers)

    def grid(self) -> Iterator[Point]:
        """Every combination: of a choice all, of an interval both ends and the middle."""
        axes = [self._axis(name) for name in self.free]
        for values in itertools.product(*axes):
            yield dict(zip(self.free, values, strict=True))

    def everything(self) -> Iterator[Point]:
        """As `grid`, but with all whole numbers of a range."""
        axes = []
        for name in self.free:
            dimension = self._dimensions[name]
            if isinstance(dimension, Interval) and dimension.whole:
                axes.append([*range(int(dimension.ends()[0]), int(dimension.ends()[1]) + 1)])
            else:
                axes.append(self._axis(name))
        for values in itertools.product(*axes):
            yield dict(zip(self.free, values, strict=True))

    def grid_size(self) -> int:
        """How many `grid` yields."""
        return math.prod(len(self._axis(name)) for name in self.free)

    def _axis(self, name: str) -> list[Raw]:
        dimension = self._dimensions[name]
        if not isinstance(dimension, Interval):
            return list(dict.fromkeys(dimension.ends()))
        inner = [dimension.at(step / (_STEPS - 1)) for step in range(1, _STEPS - 1)]
        return list(dict.fromkeys([dimension.ends()[0], *inner, dimension.ends()[1]]))

    def perturb(self, point: Point, seed: int, number: int) -> Point:
        """A neighbour of a point: every setting moved, or now and then drawn anew."""
        near = point or self.home()
        size = 2 * len(self.free)
        numbers = draws.uniforms(seed, "perturb", [range(number, number + 1)], size)[0]
        anew = self._at(numbers[: len(self.free)])
        moved: Point = {}
        for name, u in zip(self.free, numbers[len(self.free) :], strict=True):
            if u < _RESAMPLE:
                moved[name] = anew[name]
            else:
                side = (float(u) - _RESAMPLE) / (1 - _RESAMPLE)
                moved[name] = self._dimensions[name].perturb(near[name], side)
        return moved

    def _at(self, numbers: np.ndarray[Any, Any]) -> Point:
        # Above 0 and at most 1, where a dimension wants less than 1.
        return {
            name: self._dimensions[name].at(min(float(u), 1 - 2**-24))
            for name, u in zip(self.free, numbers, strict=True)
        }

    def changeable(self) -> Space:
        """What of it may change while a run trains.

        Raises:
            UserError: when nothing of it may.
        """
        kept = {n: text for n, text in self.texts.items() if n.startswith(CHANGEABLE)}
        kept = {n: t for n, t in kept.items() if parse(t).of in ("", *kept)}
        if not kept:
            raise UserError(
                f"--scheduler pbt: none of {', '.join(self.texts)} can change while a run trains; "
                "name rates, decays, penalties or the EMA, or use --scheduler asha"
            )
        return Space(self.base, kept)


EXAMPLE = "generator.optimizer.lr=loguniform(1e-5,1e-3)"


_NO_DIMENSIONS = {
    "images": "--max-images says how many each sees",
    "seed": "--confirm trains the best again with fresh seeds",
    "recipe": "a search is one of one recipe",
    "data": "values against different images cannot be compared",
    "evaluate.": "it is how they are measured; see --metric, --num and --rung",
    "health.": "a trial that is ill is ended, and counts as the worst",
    "output.": "it changes nothing that is measured",
}
"""What is no matter of a search, and why; those that end with a dot are groups."""


def _parse(name: str, text: str, source: str) -> Dimension:
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{source} {name}={text}: {error}") from None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def plain(value: Any) -> Any:
    """A setting's value as text and numbers, so that equal ones are equal."""
    if isinstance(value, Schedule):
        return value.start if value.constant else str(value)
    return value


def is_zero(base: Any) -> bool:
    """Whether a value, which may be a schedule, is always 0."""
    return base.is_zero if isinstance(base, Schedule) else bool(base == 0)


def read_space(words: list[str], read: Any) -> dict[str, str]:
    """The texts of a space from what ``--space`` was given, a file or ``SETTING=RANGE`` each.

    Args:
        read: takes a file's name and gives its text.

    Raises:
        UserError: for a file that is not a mapping, or a word that is neither.
    """
    found: dict[str, str] = {}
    for word in words:
        name, given, text = word.partition("=")
        if given and "(" in text:
            found[name.strip().removeprefix("--").replace("-", "_")] = text
        elif given:
            raise UserError(f"--space {word}: should be SETTING=RANGE, such as {EXAMPLE}")
        else:
            found |= _from_yaml(read(word), word)
    return found


def _from_yaml(content: str, source: str) -> dict[str, str]:
    remedy = f"it should name settings, one a line, such as {EXAMPLE.replace('=', ': ')!r}"
    values = parse_yaml(content, source, remedy)
    listed = {
        str(name): f"choice({', '.join(map(_word, value))})" if isinstance(value, list) else value
        for name, value in values.items()
    }
    return {name: str(text) for name, text in listed.items()}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
