"""What every source of images offers, and what sources share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distgan.errors import UserError

SPLITS = ("train", "test")

IMAGE_ENDINGS = frozenset(
    ("png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm", "pbm")
)
"""Endings of the files that are taken for images; others are left alone."""

LARGEST_FILE = 1 << 28
"""Bytes of the largest encoded image that is read: 256 MiB."""

LARGEST_ARRAY = 1 << 34
"""Bytes of the largest array that is unpacked into memory: 16 GiB."""

_MOST_CLASSES = 1 << 16

ImageData = bytes | NDArray[np.uint8]
"""An encoded image, or pixels as uint8 (h, w, c)."""


@dataclass(frozen=True)
class Item:
    """One image of a source; ``where`` is how an error names it.

    ``pair`` is a second image that belongs to the first, as for translation between them.
    """

    image: ImageData
    where: str
    label: int | None = None
    caption: str | None = None
    pair: ImageData | None = None


class Source(Protocol):
    """Images in a fixed order. Travels to Ray tasks by pickle, so holds no open file.

    ``classes`` names the labels 0, 1, ... and is empty for images without labels.
    ``captions`` and ``pairs`` say whether items have them.
    """

    kind: str
    count: int
    classes: tuple[str, ...]
    captions: bool
    pairs: bool

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these ascending numbers, reading as little else as it can."""


class ArraySource:
    """Images that are in memory; Ray's object store shares them among the tasks of a node.

    Args:
        images: uint8 (n, h, w, c).
        labels: int64 (n,), or None.
        files: the files they came from, in order, and how many came from each.
    """

    captions = pairs = False

    def __init__(
        self,
        kind: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...],
        files: Sequence[tuple[str, int]],
    ) -> None:
        self.kind, self.count, self.classes = kind, len(images), classes
        self._images, self._labels = images, labels
        self._files = [name for name, _ in files]
        self._ends = np.cumsum([count for _, count in files])

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers, as views."""
        return [self._item(int(number)) for number in numbers]

    def _item(self, number: int) -> Item:
        file = int(np.searchsorted(self._ends, number, side="right"))
        row = number - (int(self._ends[file - 1]) if file else 0)
        label = None if self._labels is None else int(self._labels[number])
        return Item(self._images[number], f"{self._files[file]}, row {row}", label)


def numbered_classes(highest: int, where: str) -> tuple[str, ...]:
    """Names for labels that have none: their numbers, 0 to ``highest``.

    Raises:
        UserError: when there would be too many to be classes.
    """
    if highest >= _MOST_CLASSES:
        raise UserError(
            f"{where}: a label of {highest}, out of range; number the classes from 0 to at "
            f"most {_MOST_CLASSES - 1}"
        )
    return tuple(str(label) for label in range(highest + 1))


def of_split(names: Sequence[str], split: str, where: str) -> list[str]:
    """The files of a split: those whose names begin with it, or all where none name a split.

    Raises:
        UserError: when there is no such split.
    """
    chosen = [name for name in names if _begins(name, split)]
    if chosen:
        return chosen
    if split == "train" and not any(_begins(name, other) for name in names for other in _OTHERS):
        return list(names)
    raise UserError(f"{where}: has no split {split}; its files are {_some(names)}")


_OTHERS = ("test", "validation", "val")


def _begins(name: str, split: str) -> bool:
    rest = name.rsplit("/", 1)[-1].lower().removeprefix(split)
    return len(rest) < len(name.rsplit("/", 1)[-1]) and not rest[:1].isalpha()


def _some(names: Sequence[str]) -> str:
    short = [name.rsplit("/", 1)[-1] for name in names]
    return ", ".join(short[:3]) + (", ..." if len(short) > 3 else "")
