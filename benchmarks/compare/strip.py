"""Samples and reconstructions of all sides under one another, as one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
_COLUMNS, _GAP, _LEFT, _MARGIN = 14, 2, 190, 16
_SIDE = 40
"""Pixels that an image is drawn with across."""
_INK, _FAINT = "#1f2933", "#52606d"


def strip(sides: Mapping[str, Mapping[str, Pixels]]) -> bytes:
    """A PNG: two rows of samples of each side, and below them a row of held-out images and one of
    what the side makes of them, if it has an encoder.

    Args:
        sides: uint8 (n, h, w, c) by what they are, by side; `contest.pictures` gives them.
    """
    rows: list[tuple[str, str, Pixels]] = []
    for side, kinds in sides.items():
        samples = kinds["samples"]
        rows += [(side, "samples", samples[:_COLUMNS]), ("", "", samples[_COLUMNS:][:_COLUMNS])]
        rows += [("", kind, kinds[kind][:_COLUMNS]) for kind in kinds if kind != "samples"]
    step = _SIDE + _GAP
    size = (_LEFT + _COLUMNS * step + _MARGIN, 2 * _MARGIN + _heights(rows)[-1])
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    bold, plain = ImageFont.load_default(20), ImageFont.load_default(14)
    for (side, kind, pixels), top in zip(rows, _heights(rows), strict=False):
        y = _MARGIN + top
        if side:
            draw.text((_MARGIN, y + 8), side, _INK, bold)
        if kind:
            draw.text((_LEFT - 12, y + 12), kind, _FAINT, plain, anchor="ra")
        for column, image in enumerate(pixels):
            shown = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
            shown = shown.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
            picture.paste(shown.convert("RGB"), (_LEFT + column * step, y))
    buffer = io.BytesIO()
    # Few colours, so that the file is small.
    picture.quantize(64, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _heights(rows: list[tuple[str, str, Pixels]]) -> list[int]:
    """Where each row begins, and where the last ends; sides stand apart."""
    places, at = [], 0
    for number, (side, _, _) in enumerate(rows):
        at += _MARGIN if side and number else 0
        places.append(at)
        at += _SIDE + _GAP
    return [*places, at]
