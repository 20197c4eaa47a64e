"""What every source of images offers, and what sources share."""

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
    """In the place of an image: why its bytes could not be had. It counts as a bad image."""

    reason: str


ImageData = bytes | NDArray[np.uint8] | Unreadable
"""An encoded image, or pixels as uint8 (h, w, c), or neither."""


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
    ``captions`` and ``pairs`` say whether items have them. ``notes`` are lines for the user: how
    the source was read where that is not plain, and what in it was left alone.
    """

    kind: str
    count: int
    classes: tuple[str, ...]
    captions: bool
    pairs: bool
    notes: tuple[str, ...]

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these ascending numbers, reading as little else as it can."""


class ArraySource:
    """Images that are in memory; Ray's object store shares them among the tasks of a node.

    Args:
        images: uint8 (n, h, w, c).
        labels: int64 (n,), or None.
        files: the files they came from, in order, and how many came from each.
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


def class_names(folders: Iterable[str]) -> tuple[str, ...]:
    """Names of classes that are folders, each printable and there only once."""
    names: dict[str, None] = {}
    # The number to begin with is kept: equal names would be counted through for each again.
    last: Counter[str] = Counter()
    for folder in folders:
        # Bytes that are not UTF-8, which Python keeps as lone surrogates, fit no JSON.
        name = wanted = printable(folder).replace("\n", " ").replace("\t", " ")
        while name in names:
            last[wanted] += 1
            name = f"{wanted} ({last[wanted] + 1})"
        names[name] = None
    return tuple(names)


def refuse_without_memory(size: int, where: str, remedy: str) -> None:
    """See that an array of ``size`` bytes can be unpacked into memory.

    Raises:
        UserError: when it takes more than is free.
    """
    free = available_memory()
    if size > free:
        raise UserError(
            f"{where}: unpacks to {size:,} bytes, but {int(free):,} bytes of memory are free; "
            f"{remedy}"
        )


def regular(path: Path) -> bool:
    """Whether a path, or what it links to, is a regular file: no pipe, device or socket."""
    return stat.S_ISREG(path.stat().st_mode)


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading.

    A pipe would be waited for without end, and a device read without end.

    Raises:
        OSError: when it cannot be opened, or is no regular file.
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
            # One more than is allowed: a file may grow, or lie about its size.
            content = stream.read(LARGEST_FILE + 1)
    except OSError as error:
        return Unreadable(f"cannot be read ({error.strerror or first_line(error)})")
    return content if len(content) <= LARGEST_FILE else TOO_LARGE


TOO_LARGE = Unreadable(f"too large for an image (over {LARGEST_FILE >> 20} MiB)")


def left_alone(names: Sequence[str], what: str) -> tuple[str, ...]:
    """The line that counts what a source did not take, by ending; none for nothing.

    Args:
        names: of the files.
        what: what they are, such as "files that are no images".
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
