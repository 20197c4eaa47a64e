"""Pairs in one image, the input A on the left of the output B: pix2pix's own sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distgan.data.decoder import BadImageError, decode
from distgan.data.sources.base import Item, Source, Unreadable


class SideBySide:
    """The images of a source cut in the middle of their width: the left half and its pair.

    Args:
        source: without pairs.
    """

    pairs = True

    def __init__(self, source: Source) -> None:
        self.kind, self.count, self.classes = source.kind, source.count, source.classes
        self.captions, self.notes = source.captions, source.notes
        self._source = source

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers, decoded."""
        return [_halved(item) for item in self._source.read(numbers)]


def _halved(item: Item) -> Item:
    try:
        pixels = _pixels(item)
    except BadImageError as error:
        bad = Unreadable(str(error))
        return replace(item, image=bad, pair=bad)
    half = pixels.shape[1] // 2
    return replace(item, image=pixels[:, :half], pair=pixels[:, half:])


def _pixels(item: Item) -> NDArray[np.uint8]:
    """uint8 (h, w, c) of an even width.

    Raises:
        BadImageError: when it is damaged, or has no middle.
    """
    if isinstance(item.image, Unreadable):
        raise BadImageError(item.image.reason)
    pixels = item.image
    if isinstance(pixels, bytes):
        image = decode(pixels).image
        pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
    if pixels.shape[1] % 2:
        raise BadImageError(
            f"is {pixels.shape[1]} pixels wide, an odd number, so --pairs side-by-side finds no "
            "middle to cut it at"
        )
    return pixels
