"""Images that a user names for a trained model: files, folders and sets, of the model's shape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.config.shape import ImageShape
from distgan.data.decoder import ENDINGS, BadImageError, Decoded
from distgan.data.images import PACKAGED
from distgan.data.sources import Item, open_source
from distgan.data.sources.base import LARGEST_FILE, regular
from distgan.data.sources.named import NAMED
from distgan.data.transform import Transform
from distgan.errors import UserError, first_line, printable


@dataclass(frozen=True)
class Input:
    """One of the images that were named."""

    name: str
    """That of its file without folder and ending, or its number; no two have the same."""
    pixels: NDArray[np.uint8]
    """uint8 (height, width, channels)."""
    pair: NDArray[np.uint8] | None
    """Its stored partner, as ``pixels``, where the set has one and it was asked for."""
    label: int | None
    """As the set has it; None without."""
    changed: bool
    """Whether it was of another size, and was cropped and resized as `data prepare` does."""


class NamedInputs:
    """All images that a user named, of which any are read.

    Args:
        names: image files, and whatever `distgan data prepare` takes: folders, archives, sets.

    Raises:
        UserError: for what does not exist, or holds no images.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._opened = [_open(name) for name in names]
        self.count = sum(map(len, self._opened))
        kinds = {each.classes for each in self._opened}
        self.classes = kinds.pop() if len(kinds) == 1 else ()
        """Names of the labels; empty where not all inputs have the same."""
        self.pairs = all(each.pairs for each in self._opened)
        """Whether every image has a stored partner."""

    def evenly(self, num: int) -> NDArray[np.int64]:
        """Numbers of up to ``num`` images, evenly spaced among all: int64, ascending."""
        num = min(num, self.count)
        return np.arange(num) * self.count // num

    def read(
        self, numbers: NDArray[np.int64], transform: Transform, of_pair: Transform | None = None
    ) -> Iterator[Input]:
        """Images of these ascending numbers, a few at a time in memory.

        Args:
            transform: what becomes of each.
            of_pair: what becomes of its partner; None leaves partners out.

        Raises:
            UserError: for one that is damaged, or lacks its partner.
        """
        names, first = _Names(), 0
        for each in self._opened:
            mine = numbers[(numbers >= first) & (numbers < first + len(each))] - first
            first += len(each)
            for start in range(0, len(mine), _AT_ONCE):
                for item in each.read(mine[start : start + _AT_ONCE]):
                    name = names.unique(_name(item.where))
                    yield _input(item, name, transform, of_pair)


_AT_ONCE = 64
"""Images that are read at a time."""


def _input(item: Item, name: str, transform: Transform, of_pair: Transform | None) -> Input:
    sizes: list[tuple[int, int]] = []

    def hear(decoded: Decoded) -> None:
        sizes.append((decoded.image.height, decoded.image.width))

    if isinstance(item.image, np.ndarray):
        sizes.append((item.image.shape[0], item.image.shape[1]))
    pair = None
    try:
        pixels = transform.pixels(item.image, hear)
        if of_pair is not None:
            if item.pair is None:
                raise BadImageError("has no partner")
            pair = of_pair.pixels(item.pair)
    except BadImageError as error:
        raise UserError(f"{item.where}: {error}; leave it out") from None
    changed = transform.size is not None and sizes[0] != transform.size
    return Input(name, pixels, pair, item.label, changed)


def _name(where: str) -> str:
    """What to call an image after its place, as items name it."""
    row = re.search(r", row (\d+)$", where)
    if row:
        return f"{int(row[1]):06d}"
    file = re.split(r"[/\\]|: ", where.removeprefix("INPUT "))[-1]
    stem, _, ending = file.rpartition(".")
    # Longer names than this are more than a filesystem takes, with an ending.
    return (stem if ending.lower() in ENDINGS and stem else file)[:_LONGEST_NAME]


_LONGEST_NAME = 60


class _Names:
    """Makes names different: the second ``a`` becomes ``a-2``. Case tells none apart, as it does
    not on every filesystem."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        # The last number given for each, so that many equal names do not take quadratic time.
        self._last: Counter[str] = Counter()

    def unique(self, name: str) -> str:
        found, key = name, name.lower()
        while found.lower() in self._taken:
            self._last[key] += 1
            found = f"{name}-{self._last[key] + 1}"
        self._taken.add(found.lower())
        return found


@dataclass(frozen=True)
class Inputs:
    """Some of the images that were named."""

    pixels: NDArray[np.uint8]
    """uint8 (n, height, width, channels)."""
    labels: tuple[int | None, ...]
    """Of each, as the set has them; None without."""
    classes: tuple[str, ...]
    """Names of the labels; empty where not all inputs have the same."""
    changed: int
    """How many were of another size, and were cropped and resized as `data prepare` does."""


def read_inputs(names: Sequence[str], image: ImageShape, num: int) -> Inputs:
    """Up to ``num`` of all images, evenly spaced among them, in a model's shape.

    Args:
        names: see `NamedInputs`.
        image: what they are cropped, resized and turned to gray or colour for.

    Raises:
        UserError: for what does not exist, is damaged, or is no image.
    """
    named = NamedInputs(names)
    transform = Transform((image.height, image.width), gray=image.channels == 1)
    found = list(named.read(named.evenly(num), transform))
    return Inputs(
        np.stack([each.pixels for each in found]),
        tuple(each.label for each in found),
        named.classes,
        sum(each.changed for each in found),
    )


class _Opened:
    """A file, or a source of images."""

    def __init__(self, name: str) -> None:
        self._file: Path | None = None
        self.classes: tuple[str, ...] = ()
        self.pairs = False
        path = Path(name)
        if path.suffix[1:].lower() in ENDINGS and path.is_file():
            self._file = path
            return
        if name in NAMED and name not in PACKAGED and not path.exists():
            raise UserError(
                f"{name}: is not here yet; make it with `distgan data prepare {name} --out {name}`"
            )
        self._source = open_source(str(PACKAGED.get(name, name)), "train")
        self.classes, self.pairs = self._source.classes, self._source.pairs

    def __len__(self) -> int:
        return 1 if self._file is not None else self._source.count

    def read(self, numbers: NDArray[np.int64]) -> Iterator[Item]:
        if self._file is None:
            yield from self._source.read(numbers)
        elif len(numbers):
            yield _item(self._file)


def _open(name: str) -> _Opened:
    try:
        return _Opened(name)
    except UserError as error:
        raise UserError(f"INPUT {error}") from None


def _item(file: Path) -> Item:
    shown = printable(str(file))
    if not regular(file) or file.stat().st_size > LARGEST_FILE:
        raise UserError(
            f"INPUT {shown}: is no image of up to {LARGEST_FILE >> 20} MiB; name another"
        )
    try:
        return Item(file.read_bytes(), f"INPUT {shown}")
    except OSError as error:
        raise UserError(f"INPUT {shown}: cannot be read ({first_line(error)})") from None
