"""Draws a set as one picture: images of each class, and the number of images per class."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_BACKGROUND, _INK, _FAINT = "white", "#1f2933", "#7b8794"
_BAR, _TRACK = "#3b6fb6", "#eef1f5"
_MARGIN, _GAP, _BETWEEN = 24, 2, 20
_BAR_WIDTH = 220
_GRID_WIDTH = 720
_SMALLEST_ROW, _LARGEST_ROW = 18, 96

MOST_ROWS = 200
"""Classes that are drawn at most, which bounds the picture's height."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def columns_and_cell(shape: tuple[int, int], rows: int) -> tuple[int, tuple[int, int]]:
    """Images in a row, and (height, width) of each in pixels, for a picture of readable size.

    Args:
        shape: height and width of the set's images.
        rows: number of rows, one per class.
    """
    height, width = shape
    # The more classes, the lower the rows.
    row = min(_LARGEST_ROW, max(_SMALLEST_ROW, 2 * _GRID_WIDTH // (3 * max(rows, 1)), 24))
    factor = row / height
    if factor >= 1:
        factor = float(round(factor)) or 1.0
    cell = max(1, round(height * factor)), max(1, round(width * factor))
    return max(1, min(24, _GRID_WIDTH // (cell[1] + _GAP))), cell


def size_side_by_side(image: tuple[int, int], pair: tuple[int, int]) -> tuple[int, int]:
    """Height and width of what `side_by_side` makes of images of these heights and widths."""
    height = max(image[0], pair[0])
    return height, sum(round(width * height / own) for own, width in (image, pair))


def side_by_side(image: NDArray[np.uint8], pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image and its pair on its right, uint8 (h, w, 3), the lower one enlarged to the other."""
    height = max(len(image), len(pair))
    parts = [
        np.asarray(_scaled(each, (height, round(each.shape[1] * height / len(each)))))
        for each in (image, pair)
    ]
    return np.concatenate(parts, 1)


def draw(
    title: str,
    rows: Sequence[Sequence[NDArray[np.uint8]]],
    cell: tuple[int, int],
    classes: Sequence[str] = (),
    counts: Sequence[int] = (),
) -> bytes:
    """A PNG: a row of images for each class, its name before it, its count as a bar behind.

    Args:
        rows: uint8 images (h, w, 1 or 3), all of one shape, at most as many in each row as
            `columns_and_cell` says.
        cell: height and width to draw each image at.
        classes: a name for each row; without them only images are drawn.
        counts: images of each class.
    """
    height = cell[0] + _GAP
    size = max(11, min(16, height - 4))
    font, bold = ImageFont.load_default(size), ImageFont.load_default(20)
    names = [_shortened(name) for name in classes]
    label_width = round(max((font.getlength(name) for name in names), default=0))
    numbers = [f"{count:,}" for count in counts]
    number_width = round(max((font.getlength(text) for text in numbers), default=0))
    left = _MARGIN + (label_width + 12 if names else 0)
    grid_width = max(len(row) for row in rows) * (cell[1] + _GAP) - _GAP
    right = left + grid_width
    if names:
        right += _BETWEEN + _BAR_WIDTH + 8 + number_width
    top = _MARGIN + 20 + 18
    width = max(right, _MARGIN + round(bold.getlength(title))) + _MARGIN
    sheet = Image.new("RGB", (width, top + len(rows) * height - _GAP + _MARGIN), _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN + 10), title, _INK, bold, anchor="lm")
    for number, images in enumerate(rows):
        y = top + number * height
        for column, image in enumerate(images):
            sheet.paste(_scaled(image, cell), (left + column * (cell[1] + _GAP), y))
        if names:
            middle = y + cell[0] / 2
            pen.text((left - 12, middle), names[number], _INK, font, anchor="rm")
            _bar(pen, left + grid_width + _BETWEEN, y, cell[0], counts[number] / max(*counts, 1))
            end = (left + grid_width + _BETWEEN + _BAR_WIDTH + 8 + number_width, middle)
            pen.text(end, numbers[number], _FAINT, font, anchor="rm")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _bar(pen: ImageDraw.ImageDraw, x: int, y: int, height: int, share: float) -> None:
    thick = max(6, min(20, round(height * 0.55)))
    top = y + (height - thick) // 2
    pen.rectangle((x, top, x + _BAR_WIDTH - 1, top + thick - 1), _TRACK)
    if share > 0:
        length = max(1, round(_BAR_WIDTH * share))
        pen.rectangle((x, top, x + length - 1, top + thick - 1), _BAR)


def _scaled(pixels: NDArray[np.uint8], cell: tuple[int, int]) -> Image.Image:
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(plain))
    # Nearest neighbour for enlarging, so that pixels stay visible; Lanczos for reducing.
    larger = cell[0] >= image.height
    way = Image.Resampling.NEAREST if larger else Image.Resampling.LANCZOS
    return image.resize((cell[1], cell[0]), way).convert("RGB")


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}\N{HORIZONTAL ELLIPSIS}"
