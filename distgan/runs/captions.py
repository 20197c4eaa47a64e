"""Words on pictures: names above the columns of a grid, and a line below it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from distgan.errors import printable

_SIZES = (8, 14)
"""Smallest and largest size of the letters, in pixels."""
_LONGEST = 140
"""Most pixels that a name takes; a longer one ends in an ellipsis."""
_MARGIN = 3

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def named(picture: Image.Image, columns: int, names: Sequence[str]) -> Image.Image:
    """A picture with a band of names above it; its own pixels stay as they are.

    Args:
        picture: columns of equal width, a line between them.
        names: are repeated until there is one for each column. Where one is wider than a
            column, all stand upright.
    """
    step = (picture.width + 1) / columns
    size = int(max(_SIZES[0], min(_SIZES[1], step - _MARGIN)))
    font = _font(size)
    shown = [_fitting(name, font) for name in names]
    upright = max(map(font.getlength, shown)) > step - 2 * _MARGIN
    strips = [_strip(name, font, picture.mode) for name in shown]
    if upright:
        strips = [strip.transpose(Image.Transpose.ROTATE_90) for strip in strips]
    band = max(strip.height for strip in strips) + 2 * _MARGIN
    whole = Image.new(picture.mode, (picture.width, picture.height + band), _white(picture.mode))
    whole.paste(picture, (0, band))
    for column in range(columns):
        strip = strips[column % len(strips)]
        left = int((column + 0.5) * step - strip.width / 2)
        whole.paste(strip, (left, band - _MARGIN - strip.height))
    return whole


def underlined(picture: Image.Image, words: str) -> Image.Image:
    """A picture with a line of words below it; its own pixels stay as they are."""
    strip = _strip(words, _font(_SIZES[1]), picture.mode)
    size = (picture.width, picture.height + strip.height + 2 * _MARGIN)
    whole = Image.new(picture.mode, size, _white(picture.mode))
    whole.paste(picture, (0, 0))
    whole.paste(strip, (_MARGIN, picture.height + _MARGIN))
    return whole


@cache
def _font(size: int) -> _Font:
    return ImageFont.load_default(size)


def _strip(words: str, font: _Font, mode: str) -> Image.Image:
    # Of one height for all words: from an accent to the foot of a g.
    size = int(font.getlength(words)) + 1, int(font.getbbox("Ág")[3]) + 1
    strip = Image.new(mode, size, _white(mode))
    ImageDraw.Draw(strip).text((0, 0), words, fill=0 if mode == "L" else (0, 0, 0), font=font)
    return strip


def _white(mode: str) -> int | tuple[int, int, int]:
    return 255 if mode == "L" else (255, 255, 255)


def _fitting(name: str, font: _Font) -> str:
    name = " ".join(printable(name[:200]).split())
    if font.getlength(name) <= _LONGEST:
        return name
    while name and font.getlength(f"{name}...") > _LONGEST:
        name = name[:-1]
    return f"{name}..."


def drawable(name: str) -> bool:
    """Whether the font has all letters of a name, which is not empty."""
    font = _font(_SIZES[1])
    missing = bytes(font.getmask("\uffff"))
    found = [bytes(font.getmask(char)) != missing for char in name if not char.isspace()]
    return bool(found) and all(found)
