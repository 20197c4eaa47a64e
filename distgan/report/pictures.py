"""The sample grids of a run, thinned and reduced in size to be embedded in a page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from distgan.errors import UserError
from distgan.storage.storage import Storage
from distgan.storage.textfiles import read_bytes

FOLDER = "samples"
MOST = 25
"""Grids of one run on a page at most."""
WIDEST, TALLEST = 1024, 16_383
"""Largest width and height in pixels; larger grids are reduced. 16,383 is WebP's limit."""
WIDEST_LAST = 2560
"""The same for a last grid that is looked at closely: ten images of 256 pixels."""

_NAME = re.compile(r"images-(\d+)\.png")


@dataclass(frozen=True)
class Sample:
    """One grid."""

    images: int
    """Images seen when it was drawn."""
    uri: str
    """The grid as a ``data:`` URI of WebP."""
    width: int
    height: int
    pixelated: bool
    """Whether the grid was enlarged by an integer factor, so that the page does not smooth it."""
    line: tuple[float, float] = (0.0, 0.0)
    """Width of the lines between its images, as shares of its width and height."""


def read_samples(storage: Storage, most: int = MOST, large: bool = False) -> list[Sample]:
    """Up to ``most`` evenly spaced grids of a run, always with the first and the last.

    Args:
        large: whether the last is to be looked at closely, and so may be wider than `WIDEST`.

    Raises:
        UserError: for a file that is not a picture.
    """
    found = [(int(m[1]), m[0]) for m in map(_NAME.fullmatch, storage.names(FOLDER)) if m]
    chosen = evenly(sorted(found), most)
    return [
        _sample(storage, images, name, WIDEST_LAST if large and name == chosen[-1][1] else WIDEST)
        for images, name in chosen
    ]


def evenly(items: list[tuple[int, str]], most: int) -> list[tuple[int, str]]:
    """At most ``most`` of the items, evenly spaced, including the first and the last."""
    if len(items) <= most:
        return items
    places = np.linspace(0, len(items) - 1, most).round().astype(int)
    return [items[place] for place in places]


def _sample(storage: Storage, images: int, name: str, widest: int) -> Sample:
    path, remedy = f"{FOLDER}/{name}", "delete it, and the report leaves it out"
    content = read_bytes(storage, path, remedy)
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as opened:
            picture = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
    except Exception:
        # The library may raise any exception for a foreign file.
        raise UserError(f"{storage.show(path)}: is not a PNG that can be read; {remedy}") from None
    small = _reduced(picture)
    pixelated = small.width < picture.width
    line = 1 / small.width, 1 / small.height
    scale = min(1.0, widest / small.width, TALLEST / small.height)
    if scale < 1:
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        small = small.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=88, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Sample(images, uri, small.width, small.height, pixelated, line)


def _reduced(picture: Image.Image) -> Image.Image:
    """The picture without the enlargement by `distgan.runs.grid`; else unchanged."""
    pixels = np.asarray(picture)
    height, width = pixels.shape[:2]
    for factor in range(16, 1, -1):
        if height % factor or width % factor:
            continue
        small = pixels[::factor, ::factor]
        if np.array_equal(small.repeat(factor, 0).repeat(factor, 1), pixels):
            return Image.fromarray(small)
    return picture
