"""Random jitter of real images: enlarged, and a window of their own size cut from that.

As pix2pix prepares its images (Isola et al. 2017, section 6.2: 256x256 images are resized to
286x286, and windows of 256x256 are cut from those).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distgan.errors import UserError
from distgan.families import DataSpec

NUMBERS = 2
"""Uniform numbers that a sample uses up: down and across."""


@dataclass(frozen=True)
class Jitter:
    """How images that belong together are enlarged and cut.

    All are enlarged by the same factor, and each is cut to its own size at the same place of what
    it shows, as near as whole pixels allow: the smallest decides between which places is chosen.

    Args:
        load_size: what the side becomes.
        side: shorter side of the images of the run's first set.
        sizes: height and width of all that are cut alike.
    """

    load_size: int
    side: int
    sizes: Sequence[tuple[int, int]]

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Enlarge and cut, each image by its own numbers alone.

        Enlarging is bilinear, with the corners of the outer pixels in the corners, and only what
        is in the window is computed.

        Args:
            images: float (n, c, h, w) of one of the ``sizes``.
            numbers: uniform in (0, 1], (n, 2).

        Returns:
            the same shape and dtype, channels last.
        """
        rows, columns = (self._lines(images, numbers, axis) for axis in (0, 1))
        pixels = _blend(images.permute(0, 2, 3, 1), 1, *rows)
        return _blend(pixels, 2, *columns).permute(0, 3, 1, 2)

    def _enlarged(self, length: int) -> int:
        return (2 * length * self.load_size + self.side) // (2 * self.side)

    def _lines(self, images: Tensor, numbers: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Of each line of the window the upper of the two it lies between, and its way to the next.

        int64 and float64 (n, length).
        """
        length = images.shape[2 + axis]
        places = self._enlarged(length) - length
        fewest = min(self._enlarged(size[axis]) - size[axis] for size in self.sizes)
        chosen = (numbers[:, axis].double() * (fewest + 1)).ceil().long() - 1
        if fewest:
            first = (2 * chosen * places + fewest).div(2 * fewest, rounding_mode="floor")
        else:
            first = chosen + places // 2
        lines = first.unsqueeze(1) + torch.arange(length, device=images.device)
        at = (lines.double() + 0.5) * (length / (length + places)) - 0.5
        at = at.clamp(min=0)
        upper = at.floor()
        return upper.long(), at - upper


def _blend(pixels: Tensor, axis: int, upper: Tensor, way: Tensor) -> Tensor:
    """Of (n, h, w, c) the lines of one axis, 1 or 2, that lie between two: as many as places."""
    # Products and a sum apart from each other, so that rounding does not depend on the batch, as
    # it may in a kernel of its own.
    along = [len(upper), 1, 1, 1]
    along[axis] = upper.shape[1]
    upper, share = upper.view(along), way.to(pixels.dtype).view(along)
    lower = (upper + 1).clamp(max=pixels.shape[axis] - 1)
    above, below = (pixels.take_along_dim(line, axis) for line in (upper, lower))
    return above * (1 - share) + below * share


def check_load_size(load_size: int, data: DataSpec) -> None:
    """See that images can be enlarged to a size.

    Raises:
        UserError: when they are larger.
    """
    side = min(data.image[1:])
    if 0 < load_size < side:
        raise UserError(
            f"--feed.load_size {load_size}: is smaller than the images, which are "
            f"{data.image.height}x{data.image.width}; give at least {side}, or 0 for none"
        )
