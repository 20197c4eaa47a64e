"""Inputs beside what was made of them, and beside targets where these are known, in one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distgan.runs.captions import named

MOST = 48
"""Inputs of one picture."""
_SMALLEST, _LARGEST = 84, 384
"""Pixels of the longest side of an image; smaller ones are enlarged, larger ones reduced."""
_WIDEST, _GAP = 1280, 10
"""Pixels of the picture, but for a single input, and between two inputs with what belongs to it."""


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image, uint8 (h, w, c), reduced for a `comparison_png`; a small one as it is."""
    if max(pixels.shape[:2]) <= _LARGEST:
        return pixels
    picture = _opened(pixels)
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    return np.asarray(picture).reshape(picture.height, picture.width, pixels.shape[2])


def comparison_png(groups: Sequence[Sequence[NDArray[np.uint8]]], names: Sequence[str]) -> bytes:
    """A PNG in which the images of a group stand side by side, under their names.

    All are shown in boxes of one size, in which smaller ones are enlarged pixel by pixel, and in
    colour if any has colours.

    Args:
        groups: uint8 (h, w, 1 or 3) images, as many in each as there are names.
        names: such as input, output and target.
    """
    every = [image for group in groups for image in group]
    height, width = (max(image.shape[side] for image in every) for side in (0, 1))
    factor = max(1, round(_SMALLEST / max(height, width)))
    box, channels = (factor * height, factor * width), max(image.shape[2] for image in every)
    strips = [_joined([_boxed(image, box, channels) for image in group]) for group in groups]
    across = min(len(groups), max(1, _WIDEST // (strips[0].shape[1] + _GAP)))
    # About as many in the last row as in the others.
    rows = -(-len(groups) // across)
    across = -(-len(groups) // rows)
    columns = [_column(strips[first::across], names) for first in range(across)]
    size = sum(each.width + _GAP for each in columns) - _GAP, columns[0].height
    whole = Image.new(columns[0].mode, size, "white")
    for number, column in enumerate(columns):
        whole.paste(column, (number * (column.width + _GAP), 0))
    buffer = io.BytesIO()
    whole.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def _joined(boxes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    line = np.full((len(boxes[0]), 1, boxes[0].shape[2]), 96, np.uint8)
    return np.concatenate([part for each in boxes for part in (line, each)][1:], 1)


def _column(strips: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> Image.Image:
    gap = np.full((_GAP // 2, *strips[0].shape[1:]), 255, np.uint8)
    pixels = np.concatenate([part for strip in strips for part in (gap, strip)][1:])
    return named(_opened(pixels), len(names), names)


def _boxed(image: NDArray[np.uint8], box: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = min(box[0] / height, box[1] / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = _opened(image)
    if size != (width, height):
        picture = picture.resize(size, Image.Resampling.NEAREST)
    pixels = np.asarray(picture).reshape(size[1], size[0], image.shape[2])
    whole = np.full((*box, channels), 96, np.uint8)
    top, left = (box[0] - size[1]) // 2, (box[1] - size[0]) // 2
    whole[top : top + size[1], left : left + size[0]] = pixels
    return whole


def _opened(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
