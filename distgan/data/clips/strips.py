"""Clips of which each is one image: frames side by side, or below each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.data.clips.base import ClipItem
from distgan.data.decoder import BadImageError, decode
from distgan.data.sources import Source, open_source
from distgan.data.sources.base import ImageData, Item, Unreadable
from distgan.errors import UserError, printable

ABOUT = (
    "images (in any form that sets of images have), each a strip of the frames of a clip, side by "
    "side or below each other"
)

_AT_ONCE = 16
"""Strips that are read at once, not yet decoded: some sources read many for one."""


def open_strips(path: Path, split: str, frame_size: tuple[int, int] | None) -> StripSource:
    """A clip for each image of a source.

    Args:
        frame_size: height and width of a frame; None for squares of the strip's shorter side.

    Raises:
        UserError: when it is no source of images, or one of pairs.
    """
    source = open_source(str(path), split)
    if source.pairs:
        raise UserError(f"{printable(str(path))}: strips have no pairs (NAME.pair.png); move them")
    return StripSource(source, frame_size)


class StripSource:
    """The images of a source, each cut into frames.

    Args:
        source: of the strips.
        frame_size: see `open_strips`.
    """

    kind = "strips"

    def __init__(self, source: Source, frame_size: tuple[int, int] | None) -> None:
        self.count, self.classes, self.notes = source.count, source.classes, source.notes
        self._source, self._size = source, frame_size

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these numbers; a strip that cannot be cut is a single `Unreadable`."""
        for start in range(0, len(numbers), _AT_ONCE):
            for item in self._source.read(numbers[start : start + _AT_ONCE]):
                try:
                    frames: list[ImageData] = [*cut(_pixels(item), self._size)]
                except BadImageError as error:
                    frames = [Unreadable(str(error))]
                yield ClipItem(frames, item.where, item.label)


def cut(strip: NDArray[np.uint8], size: tuple[int, int] | None) -> list[NDArray[np.uint8]]:
    """The frames of a strip, uint8 (h, w, c), as views.

    Args:
        size: height and width of a frame; None for squares of the shorter side.

    Raises:
        BadImageError: when the strip is not a whole number of frames long.
    """
    whole = strip.shape[:2]
    height, width = size or (min(whole),) * 2
    along = 0 if whole[1] == width else 1
    length = (height, width)[along]
    if whole[1 - along] != (height, width)[1 - along] or whole[along] % length:
        told = "" if size else ", squares of its shorter side"
        raise BadImageError(
            f"is a strip of {whole[0]}x{whole[1]} (height, width), which is no row or column of "
            f"whole frames of {height}x{width}{told}"
        )
    count = whole[along] // length
    return [np.take(strip, range(n * length, (n + 1) * length), along) for n in range(count)]


def _pixels(item: Item) -> NDArray[np.uint8]:
    if isinstance(item.image, Unreadable):
        raise BadImageError(item.image.reason)
    if not isinstance(item.image, bytes):
        return item.image
    image = decode(item.image).image
    return np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
