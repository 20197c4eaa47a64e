"""The space of a search: some settings of a recipe, and what each of them may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from distgan import draws
from distgan.config import Config
from distgan.errors import UserError
from distgan.schedule import Schedule
from distgan.settings import leaves, override, unknown_setting
from distgan.textfiles import parse_yaml
from distgan.tune.dimensions import Dimension, Interval, Raw, Scale, parse

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

    def __init__(self, base: Config, texts: Mapping[str, str], source: str = "--space") -> None:
        if not texts:
            raise UserError(f"{source}: names no setting; give some, such as {EXAMPLE}")
        self.base, self.texts = base, dict(texts)
        self._own = {setting.name: setting.value for setting in leaves(base)}
        self._dimensions: dict[str, Dimension] = {}
        for name, text in texts.items():
            self._add(name, text, source)
        if not self.free:
            raise UserError(f"{source}: leaves nothing to choose; give a range, such as {EXAMPLE}")
        self._after = self._in_order(source)
        self._check(source)

    def _add(self, name: str, text: str, source: str) -> None:
        try:
            dimension = parse(text)
        except ValueError as error:
            raise UserError(f"{source} {name}={text}: {error}") from None
        for known in filter(None, (name, dimension.of)):
            if known not in self._own and not known.endswith(".probability"):
                raise UserError(f"{source} {name}={text}: {unknown_setting(known, self.base)[2:]}")
        base = self._own.get(dimension.of or name)
        factor = isinstance(dimension, Scale)
        if factor and (isinstance(base, (bool, str)) or base is None or _zero(base)):
            raise UserError(
                f"{source} {name}={text}: the recipe's {dimension.of or name} is {base}, which "
                "no factor changes; give values, as in uniform(LOW, HIGH)"
            )
        self._dimensions[name] = dimension

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

    def _check(self, source: str) -> None:
        # Every end by itself first, so that the error names the one that does not fit.
        for name, dimension in self._dimensions.items():
            for end in dimension.ends():
                try:
                    override(self.base, self.changes({name: end}))
                except UserError as error:
                    raise UserError(f"{source} {name}={self.texts[name]}: {error}") from None

    @property
    def free(self) -> list[str]:
        """The settings that there is a choice for."""
        return [name for name, dimension in self._dimensions.items() if dimension.free]

    def dimension(self, name: str) -> Dimension:
        """What a setting may be."""
        return self._dimensions[name]

    def changes(self, point: Point) -> dict[str, Any]:
        """The values of the settings at a point; those it does not name stay as they are."""
        found: dict[str, Any] = {}
        for name in self._after:
            dimension = self._dimensions[name]
            if name in point:
                found[name] = dimension.value(point[name], self._base(dimension, name, found))
            elif point and not dimension.free:
                found[name] = found.get(dimension.of, self._own.get(dimension.of))
        return found

    def _base(self, dimension: Dimension, name: str, found: Mapping[str, Any]) -> Any:
        of = dimension.of or name
        return found[of] if of in found else self._own.get(of)

    def home(self) -> Point:
        """The point that comes nearest to the recipe as it is."""
        return {
            name: self._dimensions[name].home(
                self._own.get(name), self._own.get(self._dimensions[name].of or name)
            )
            for name in self.free
        }

    def draw(self, seed: int, number: int) -> Point:
        """The ``number``-th point of a random search: independent of all others."""
        numbers = draws.uniforms(seed, "tune", [range(number, number + 1)], len(self.free))[0]
        return self._at(numbers)

    def grid(self) -> Iterator[Point]:
        """Every combination: of a choice all, of an interval both ends and the middle."""
        axes = []
        for name in self.free:
            dimension = self._dimensions[name]
            if isinstance(dimension, Interval):
                inner = [dimension.at(step / (_STEPS - 1)) for step in range(1, _STEPS - 1)]
                axes.append([dimension.ends()[0], *inner, dimension.ends()[1]])
            else:
                axes.append(list(dimension.ends()))
        for values in itertools.product(*axes):
            yield dict(zip(self.free, values, strict=True))

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


def _zero(base: Any) -> bool:
    return bool(base.start == base.end == 0 if isinstance(base, Schedule) else base == 0)


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


def default_space(config: Config) -> dict[str, str]:
    """What is worth trying for any recipe, by what GANs are known to be sensitive to.

    The generator's rate and the discriminator's as a multiple of it (two time-scales, Heusel
    et al. 2017), the decays of Adam, the weight of R1 (Mescheder et al. 2018), updates of D for
    one of G, the half-life of the moving average, the batch, and augmentation of D's images
    (Zhao et al. 2020).
    """
    generator, discriminator = config.generator, config.discriminator
    half_life, r1 = generator.ema.half_life, discriminator.penalty.r1
    updates = sorted({1, 2, discriminator.updates})
    lr = "generator.optimizer.lr"
    space = {
        lr: "scale(0.3, 10)",
        "discriminator.optimizer.lr": f"ratio({lr}, 0.25, 4)",
        "generator.optimizer.beta1": "choice(0, 0.25, 0.5)",
        "discriminator.optimizer.beta1": "same(generator.optimizer.beta1)",
        "generator.optimizer.beta2": "choice(0.9, 0.99, 0.999)",
        "discriminator.optimizer.beta2": "same(generator.optimizer.beta2)",
        "discriminator.penalty.r1": "choice(0, 0.01, 0.1, 1)" if _zero(r1) else "scale(0.1, 10)",
        "discriminator.updates": f"choice({', '.join(map(str, updates))})",
        "generator.ema.half_life": (
            "choice(0, 5000, 20000)" if _zero(half_life) else "scale(0.1, 3)"
        ),
        "batch": f"choice({', '.join(str(b) for b in _batches(config))})",
        "discriminator.augment.name": _augmentations(discriminator.augment.name),
    }
    if config.compile != "off":
        del space["discriminator.penalty.r1"]
    return space


def _batches(config: Config) -> list[int]:
    wanted = (config.batch // 2, config.batch, 2 * config.batch)
    every = config.discriminator.penalty.every
    return [b for b in wanted if b and b % config.accumulate == 0 and every % b == 0]


def _augmentations(own: str) -> str:
    return "choice(none, diffaugment)" if own == "none" else f"choice({own}, none)"
