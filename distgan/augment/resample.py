"""Bicubic resampling that can be differentiated as often as one likes.

torch's own `grid_sample` has no second derivative, which a penalty on the gradient with respect to
images before their augmentation needs. Resampling is linear in the images, so that its backward is
the transposed map, and the backward of that is the resampling again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

_BICUBIC, _REFLECTION = 2, 2
"""How torch numbers them."""


def resample(images: Tensor, grid: Tensor) -> Tensor:
    """Images at the places of a grid, bicubically, with reflections from beyond the edge.

    Args:
        images: float (n, c, h, w), the only argument that gets a gradient.
        grid: float (n, h, w, 2), places (x, y) in [-1, 1] of the middles of the outermost pixels,
            as `torch.nn.functional.grid_sample` has them with ``align_corners``.

    Returns:
        float (n, c, h, w).
    """
    result: Tensor = _Resample.apply(images, grid)  # type: ignore[no-untyped-call]
    return result


class _Resample(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, images: Tensor, grid: Tensor) -> Tensor:
        context.save_for_backward(grid)
        return grid_sample(images, grid, "bicubic", "reflection", align_corners=True)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = context.saved_tensors
        return _Transposed.apply(gradient, grid), None  # type: ignore[no-untyped-call]


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, gradient: Tensor, grid: Tensor) -> Tensor:
        context.save_for_backward(grid)
        # Of the images only the shape is used, which the gradient has too.
        found: Tensor = torch.ops.aten.grid_sampler_2d_backward(
            *(gradient, gradient, grid, _BICUBIC, _REFLECTION, True, (True, False))
        )[0]
        return found

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (grid,) = context.saved_tensors
        return _Resample.apply(gradient, grid), None  # type: ignore[no-untyped-call]
