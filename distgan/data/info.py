"""`distgan data info`: what is in a set, in words and as a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.pixels import Pixels
from distgan.grid import grid_png

_COLUMNS = 12


def describe(uri: str) -> tuple[dict[str, str], Pixels]:
    """A set's properties as text, and its pixels.

    Raises:
        UserError: when the set cannot be read.
    """
    images = open_images(uri)
    pixels = read_resident(images)
    shape = images.shape
    description = {
        "images": f"{images.count:,}",
        "shape": f"{shape.height}x{shape.width}x{shape.channels}",
        "mean": f"{pixels.images.mean() / 255:.4f} of full brightness",
        "files": f"{len(images.files)} in {images.uri}",
    }
    if pixels.labels is not None:
        counts = np.bincount(pixels.labels, minlength=len(images.classes))
        named = zip(images.classes, counts, strict=True)
        description["classes"] = ", ".join(f"{name}: {count:,}" for name, count in named)
    return description, pixels


def picture(pixels: Pixels) -> bytes:
    """A PNG: the first images of each class, a row each; without labels, of the whole set."""
    return grid_png(pixels.images[_first_of_each(pixels)], _COLUMNS)


def _first_of_each(pixels: Pixels) -> NDArray[np.int64]:
    if pixels.labels is None:
        return np.arange(min(len(pixels.images), _COLUMNS**2))
    rows = []
    for label in np.unique(pixels.labels):
        found = np.flatnonzero(pixels.labels == label)[:_COLUMNS]
        rows.append(np.resize(found, _COLUMNS))
    return np.concatenate(rows)
