"""The sample grids of a run, thinned and reduced in size to be embedded in a page."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from distgan.errors import UserError
from distgan.runs.animation import MOST_BYTES, extent
from distgan.runs.samples import FOLDER
from distgan.storage.storage import Storage
from distgan.storage.textfiles import read_bytes

MOST = 25
"""Grids of one run on a page at most."""
WIDEST, TALLEST = 1024, 16_383
"""Largest width and height in pixels; larger grids are reduced. 16,383 is WebP's limit."""
WIDEST_LAST = 2560
"""The same for a last grid that is looked at closely: ten images of 256 pixels."""

_NAME, _MOVING = (re.compile(rf"images-(\d+)\.{ending}") for ending in ("png", "webp"))


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


@dataclass(frozen=True)
class Film:
    """An animation of clips that play side by side."""

    images: int
    """Images seen when it was made."""
    caption: str
    """What it shows, and its size; or why the page goes without it."""
    uri: str
    """It as a ``data:`` URI of an animated WEBP; empty for one that is too large."""
    still: str
    """Its first frame as a ``data:`` URI, for who asks for less motion."""
    width: int
    height: int


def read_film(storage: Storage) -> Film | None:
    """The newest animation of a run; None of a run without.

    Raises:
        UserError: for a file that is no animation.
    """
    found = [(int(m[1]), m[0]) for m in map(_MOVING.fullmatch, storage.names(FOLDER)) if m]
    if not found:
        return None
    images, name = max(found)
    path, remedy = f"{FOLDER}/{name}", "delete it, and the report leaves it out"
    content = read_bytes(storage, path, remedy)
    try:
        with Image.open(io.BytesIO(content), formats=["WEBP"]) as opened:
            frames, first = int(getattr(opened, "n_frames", 1)), opened.convert("RGB")
    except Exception:
        # The library may raise any exception for a foreign file.
        raise UserError(f"{storage.show(path)}: is not a WEBP that can be read; {remedy}") from None
    size = f"{len(content) / 1000:,.0f}\xa0kB"
    if len(content) > MOST_BYTES:
        caption = f"{path} moves, but is too large for this page ({size})"
        return Film(images, caption, "", "", *first.size)
    caption = f"{_shown(content, frames)}; {size}"
    return Film(images, caption, _uri(content), _uri(_still(first)), *first.size)


def _shown(content: bytes, frames: int) -> str:
    its = extent(content)
    if its is None:
        return f"{frames:,} frames"
    clips, frames_of = _part(its.clips, its.all_clips), _part(its.frames, its.all_frames)
    fewer = (its.clips, its.frames) != (its.all_clips, its.all_frames)
    why = " (fewer, so that the page stays light)" if fewer else ""
    return f"{clips} clips, {frames_of} frames{why}, {its.fps:.3g} a second"


def _part(shown: int, all_of: int) -> str:
    return f"{shown:,}" if shown == all_of else f"{shown:,} of {all_of:,}"


def _still(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=88, method=4)
    return buffer.getvalue()


def _uri(webp: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


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
    return Sample(images, _uri(_still(small)), small.width, small.height, pixelated, line)


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
