"""Images and numbers for the tests of augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from distgan import draws

NORMAL_ZERO = 0.5
"""The uniform number whose normal number is 0."""


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Noise: float64 (count, channels, height, width) in [-1, 1]."""
    draw = torch.Generator().manual_seed(0)
    shape = (count, channels, height, width)
    return torch.rand(shape, generator=draw, dtype=torch.float64) * 2 - 1


def drawn(size: int, count: int) -> Tensor:
    """Numbers as a run draws them: float64 (count, size) in (0, 1]."""
    # At least one, for augmentations that use none.
    numbers = draws.uniforms(0, "augment-real", [range(count)], max(1, size))
    return torch.from_numpy(numbers[:, :size]).double()


def table(row: list[float], count: int) -> Tensor:
    """The same numbers for every image: float64 (count, len(row))."""
    return torch.tensor([row] * count, dtype=torch.float64)
