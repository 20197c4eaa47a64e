"""Images side by side in one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief
from distgan.runs.captions import named

SMALLEST = 560
"""A grid with fewer pixels across is enlarged by an integer factor, so that it can be seen."""


_MOST_PIXELS = 2**26
"""Upper bound for a grid; viewers and Pillow refuse slightly larger pictures."""


def check_grid(num: int, image: ImageShape, columns: int) -> None:
    """Check that a grid of ``num`` images is not too large, before the images are made.

    Raises:
        UserError: when it is, naming ``--num``.
    """
    height, width = -(-num // columns) * (image.height + 1), columns * (image.width + 1)
    if height * width > _MOST_PIXELS:
        most = max(1, _MOST_PIXELS // ((image.height + 1) * (image.width + 1)))
        raise UserError(
            f"--num {brief(num)}: would be a picture of {width:,} x {height:,} pixels, more than "
            f"viewers open; use {most:,} or less"
        )


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """float (n, c, h, w) in [-1, 1] -> uint8 (n, h, w, c), rounded to nearest.

    Of clips, (n, frames, c, h, w) -> (n, frames, h, w, c).
    """
    scaled = (images.detach().float() + 1).mul_(127.5).round_().clamp_(0, 255)
    pixels: NDArray[np.uint8] = scaled.byte().movedim(-3, -1).cpu().numpy()
    return pixels


def single_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of one uint8 image (h, w, c), as it is.

    Raises:
        UserError: for a number of channels that a PNG cannot show.
    """
    _check_channels(pixels.shape[-1])
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels if pixels.shape[-1] == 3 else pixels[..., 0])
    picture.save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def _check_channels(channels: int) -> None:
    if channels not in (1, 3):
        raise UserError(f"images of {channels} channels cannot be shown; 1 and 3 can")


def grid_png(images: NDArray[np.uint8], columns: int, names: Sequence[str] = ()) -> bytes:
    """A PNG of a `grid`."""
    buffer = io.BytesIO()
    # A seventh larger than with Pillow's default level, in a third of the time.
    grid(images, columns, names).save(buffer, "PNG", compress_level=2)
    return buffer.getvalue()


def grid(
    images: NDArray[np.uint8],
    columns: int,
    names: Sequence[str] = (),
    *,
    smallest: int = SMALLEST,
) -> Image.Image:
    """A picture of uint8 images (n, h, w, c), row by row, a thin line between them.

    Args:
        names: of the columns, written above them; they are repeated where there are fewer than
            columns, and none are written without any.
        smallest: pixels across, as nearly as a whole factor gives them.

    Raises:
        UserError: for a number of channels that a PNG cannot show.
    """
    count, height, width, channels = images.shape
    _check_channels(channels)
    rows = -(-count // columns)
    # Both dark and light images contrast with grey lines.
    sheet = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, channels), 96, np.uint8)
    for number, image in enumerate(images):
        top, left = (height + 1) * (number // columns), (width + 1) * (number % columns)
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet if channels == 3 else sheet[..., 0])
    factor = max(1, round(smallest / picture.width))
    picture = picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )
    return named(picture, columns, names) if names else picture
