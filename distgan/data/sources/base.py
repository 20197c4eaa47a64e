"""The interface of every source of images, and code that several sources share."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from distgan.errors import UserError, first_line, printable
from distgan.storage.machine import available_memory

LARGEST_FILE = 1 << 28
"""Bytes of the largest encoded image that is read: 256 MiB."""

_MOST_CLASSES = 1 << 16


@dataclass(frozen=True)
class Unreadable:
    """Takes the place of an image that could not be read, with the reason. Counts as bad."""

    reason: str


ImageData = bytes | NDArray[np.uint8] | Unreadable
"""An encoded image, or pixels as uint8 (h, w, c), or neither."""


@dataclass(frozen=True)
class Item:
    """One image of a source; ``where`` names it in errors.

    ``pair`` is a second image that belongs to the first, for image-to-image translation.
    """

    image: ImageData
    where: str
    label: int | None = None
    caption: str | None = None
    pair: ImageData | None = None


class Source(Protocol):
    """Images in a fixed order. Sent to Ray tasks by pickle, so it holds no open file.

    ``classes`` names the labels 0, 1, ... and is empty for images without labels.
    ``captions`` and ``pairs`` say whether items have them. ``notes`` are lines for the user about
    how the source was interpreted, and which files were not used.
    """

    kind: str
    count: int
    classes: tuple[str, ...]
    captions: bool
    pairs: bool
    notes: tuple[str, ...]

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these ascending numbers; reads as little else as possible."""


class ArraySource:
    """Images in memory; Ray's object store shares them among the tasks of a node.

    Args:
        images: uint8 (n, h, w, c).
        labels: int64 (n,), or None.
        files: the files they were read from, in order, and the number of images from each.
        notes: see `Source`.
    """

    captions = pairs = False

    def __init__(
        self,
        kind: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64] | None,
        classes: tuple[str, ...],
        files: Sequence[tuple[str, int]],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.kind, self.count, self.classes, self.notes = kind, len(images), classes, notes
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
    """Names for labels without names: their numbers, 0 to ``highest``.

    Raises:
        UserError: when there are too many to be classes.
    """
    if highest >= _MOST_CLASSES:
        raise UserError(
            f"{where}: a label of {highest}, out of range; number the classes from 0 to at "
            f"most {_MOST_CLASSES - 1}"
        )
    return tuple(str(label) for label in range(highest + 1))


def class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """Unique and printable names of classes, made from names of folders."""
    names: dict[str, None] = {}
    # The last number used for each name, so that many equal names do not take quadratic time.
    last: Counter[str] = Counter()
    for folder in folders:
        # Lone surrogates, by which Python represents bytes that are not UTF-8, are not valid JSON.
        name = wanted = printable(folder).replace("\n", " ").replace("\t", " ")
        while name in names:
            last[wanted] += 1
            name = f"{wanted} ({last[wanted] + 1})"
        names[name] = None
    return tuple(names)


def refuse_without_memory(size: int, where: str, remedy: str) -> None:
    """Check that an array of ``size`` bytes fits into memory.

    Raises:
        UserError: when it needs more than is available.
    """
    free = available_memory()
    if size > free:
        raise UserError(
            f"{where}: unpacks to {size:,} bytes, but {int(free):,} bytes of memory are free; "
            f"{remedy}"
        )


def regular(path: Path) -> bool:
    """Whether a path, or its link's target, is a regular file: not a pipe, device or socket."""
    return stat.S_ISREG(path.stat().st_mode)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading.

    Reading from a pipe or a device may block or not end.

    Raises:
        OSError: when it cannot be opened, or is not a regular file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("not a regular file but a folder, pipe, device or socket")
    return os.fdopen(handle, "rb")


def read_image(path: Path) -> bytes | Unreadable:
    """An image file's content, or why there is none."""
    try:
        with open_regular(path) as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST_FILE:
                return TOO_LARGE
            # One byte more than allowed, to detect a file larger than stat() said.
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        return Unreadable(f"cannot be read ({error.strerror or first_line(error)})")
    return content if len(content) <= LARGEST_FILE else TOO_LARGE


TOO_LARGE = Unreadable(f"too large for an image (over {LARGEST_FILE >> 20} MiB)")


def left_alone(names: Sequence[str], what: str) -> tuple[str, ...]:
    """A line that counts files that a source did not use, by extension; empty for no files.

    Args:
        names: of the files.
        what: description of them, such as "files that are no images".
    """
    if not names:
        return ()
    endings = Counter(_ending(name) for name in names)
    most = ", ".join(f"{count:,} {ending}" for ending, count in endings.most_common(4))
    rest = ", ..." if len(endings) > 4 else ""
    return (f"left alone: {len(names):,} {what} ({most}{rest}), such as {printable(names[0])}",)


def _ending(name: str) -> str:
    _, dot, ending = name.rsplit("/", 1)[-1].rpartition(".")
    return f".{printable(ending[:12].lower())}" if dot else "without an ending"
