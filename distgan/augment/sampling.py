"""Bicubic reading of images between their pixels, differentiable as often as one likes.

torch's own `grid_sample` has no second derivative, which a penalty on the gradient with respect to
images before their augmentation needs. Reading is linear in the images, so that its backward is the
transposed map, and the backward of that is reading again.

The gradient of torch's `grid_sample` is added up on a GPU in an order that varies. Where
`torch.use_deterministic_algorithms` is on, the 16 pixels around each place are looked up one after
another. What comes back to a pixel is then sorted by its number before it is added up.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

_SHARPNESS = -0.75
"""Keys' parameter a, as torch takes it ("Cubic Convolution Interpolation for Digital Image
Processing", 1981, equation 15)."""
_BICUBIC, _REFLECTION = 2, 2
"""How torch numbers them."""


def bicubic(images: Tensor, grid: Tensor) -> Tensor:
    """Images read at places of a grid; what lies beyond the edge is a reflection.

    Args:
        images: float (n, channels, h, w).
        grid: float (n, rows, columns, 2): x and y, -1 in the middle of the first pixel and 1 in
            that of the last. No gradient reaches it.

    Returns:
        float (n, channels, rows, columns).
    """
    if torch.are_deterministic_algorithms_enabled():
        return _looked_up(images, grid)
    result: Tensor = _Resample.apply(images, grid)  # type: ignore[no-untyped-call]
    return result


def reflect(place: Tensor, size: int) -> Tensor:
    """Whole numbers mirrored at the middle of the first and last pixel, to 0 .. ``size`` - 1."""
    place = place.remainder(max(1, 2 * (size - 1)))
    return torch.where(place < size, place, 2 * (size - 1) - place)


def _looked_up(images: Tensor, grid: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    columns, across = _neighbours(grid[..., 0], width)
    rows, down = _neighbours(grid[..., 1], height)
    # A pixel with all its channels is one row of a table, and looked up as one.
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    image = torch.arange(n, device=images.device).view(-1, 1, 1) * height
    found = images.new_zeros(())
    for row, weight in zip(rows, down, strict=True):
        line = torch.zeros_like(found)
        for column, share in zip(columns, across, strict=True):
            line = line + pixels[(image + row) * width + column] * share.unsqueeze(3)
        found = found + line * weight.unsqueeze(3)
    return found.permute(0, 3, 1, 2)


def _neighbours(place: Tensor, size: int) -> tuple[list[Tensor], list[Tensor]]:
    # The four nearest pixels of a side, int64, and their weights, each of the places' shape.
    place = (place + 1) / 2 * (size - 1)
    first = place.floor()
    part = place - first
    pixels = [reflect(first.long() + step, size) for step in (-1, 0, 1, 2)]
    near, far = (part, 1 - part), (part + 1, 2 - part)
    return pixels, [_far(far[0]), _near(near[0]), _near(near[1]), _far(far[1])]


def _near(distance: Tensor) -> Tensor:
    # Up to 1.
    return ((_SHARPNESS + 2) * distance - (_SHARPNESS + 3)) * distance * distance + 1


def _far(distance: Tensor) -> Tensor:
    # From 1 to 2.
    cubic = (distance - 5) * distance + 8
    return _SHARPNESS * (cubic * distance - 4)


class _Resample(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor, grid: Tensor) -> Tensor:
        context.save_for_backward(grid)
        context.shape = images.shape
        return grid_sample(images, grid, "bicubic", "reflection", align_corners=True)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = context.saved_tensors
        return _Transposed.apply(gradient, grid, context.shape), None  # type: ignore[no-untyped-call]


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        context.save_for_backward(grid)
        # Of the images only the shape is used.
        images = gradient if gradient.shape == shape else gradient.new_empty(shape)
        found: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            *(gradient, images, grid, _BICUBIC, _REFLECTION, True, (True, False))
        )[0]
        return found

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = context.saved_tensors
        return _Resample.apply(gradient, grid), None, None  # type: ignore[no-untyped-call]
