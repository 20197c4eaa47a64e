"""Clips of the recorded runs: a film, and strips beside clips of the data."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageSequence

from benchmarks.video.__main__ import RECORDS
from distgan.data.clips.moving import FPS, open_moving
from distgan.runs.film import encode
from distgan.runs.grid import grid

_SHOWN = {
    "moving-mnist-video": "video: sparse frames, continuous times",
    "moving-mnist-mocogan": "mocogan: content and motion",
}
"""Recipes, and what stands above their strips."""
_ENLARGED = 3
"""Times, of the film."""
_CLIPS, _FRAMES, _WIDTH, _BAND, _MARGIN = 3, 10, 760, 26, 10
"""Strips of a recipe, frames of a strip, and pixels."""


def film() -> bytes:
    """The animation of the longest run of the family video, of its first seed, enlarged."""
    with Image.open(_record("moving-mnist-video", ".webp")) as small:
        frames = [frame.convert("L") for frame in ImageSequence.Iterator(small)]
    size = (_ENLARGED * frames[0].width, _ENLARGED * frames[0].height)
    large = (frame.resize(size, Image.Resampling.NEAREST) for frame in frames)
    return encode(large, "webp", FPS, quality=100)


def strips() -> bytes:
    """A PNG: strips of each recipe, and of the data."""
    rows = [(title, _recorded(recipe)) for recipe, title in _SHOWN.items()]
    rows.append(("the data: moving-mnist-small", _of_data()))
    tall = sum(_BAND + strip.height + _MARGIN for _, strip in rows) + _MARGIN
    whole = Image.new("L", (_WIDTH + 2 * _MARGIN, tall), 255)
    pen, font, top = ImageDraw.Draw(whole), ImageFont.load_default(15), _MARGIN
    for title, strip in rows:
        pen.text((_MARGIN, top), title, fill=0, font=font)
        whole.paste(strip, (_MARGIN, top + _BAND))
        top += _BAND + strip.height + _MARGIN
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _record(recipe: str, ending: str) -> Path:
    found = sorted(RECORDS.glob(f"{recipe}-[0-9]*-0-*{ending}"), key=_seconds)
    if not found:
        raise FileNotFoundError(
            f"{RECORDS}: no record of {recipe}; make one with "
            f"`python -m benchmarks.video --only {recipe}`"
        )
    return found[-1]


def _seconds(path: Path) -> float:
    """Of training, which the name of a record says: RECIPE-SECONDS-SEED-HASH."""
    return float(path.name.rsplit("-", 3)[1])


def _recorded(recipe: str) -> Image.Image:
    """The first frames of the first strips of a record, which may be enlarged."""
    with Image.open(_record(recipe, ".png")) as sheet:
        pixels = np.asarray(sheet.convert("L"))
    # Lines between frames are gray in all places; images are 32 pixels, enlarged by a whole factor.
    factor = next(n for n in range(1, 9) if (pixels[:, 33 * n - 1] == 96).all())
    small = pixels[::factor, ::factor]
    return _fitting(small[: 33 * _CLIPS - 1, : 33 * _FRAMES - 1])


def _of_data() -> Image.Image:
    clips = open_moving("moving-mnist-small", "train", None, 0)
    frames = np.concatenate([clips.clip(number)[:_FRAMES] for number in range(_CLIPS)])
    return _fitting(np.asarray(grid(frames, _FRAMES, smallest=1)))


def _fitting(strip: np.ndarray) -> Image.Image:
    picture = Image.fromarray(strip)
    height = round(picture.height * _WIDTH / picture.width)
    return picture.resize((_WIDTH, height), Image.Resampling.NEAREST)
