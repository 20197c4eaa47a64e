"""Padding by reflection, in torch's way or in one that repeats to the bit.

The gradient of torch's is added up on a GPU in an order that varies. Where
`torch.use_deterministic_algorithms` is on, the edges are reversed and concatenated instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def reflected(maps: Tensor, width: int) -> Tensor:
    """float (n, c, h, w) -> float (n, c, h + 2 width, w + 2 width).

    Sides have more pixels than ``width``.
    """
    if not torch.are_deterministic_algorithms_enabled():
        return functional.pad(maps, (width,) * 4, mode="reflect")
    for side in (2, 3):
        size = maps.shape[side]
        before = maps.narrow(side, 1, width).flip(side)
        after = maps.narrow(side, size - 1 - width, width).flip(side)
        maps = torch.cat([before, maps, after], side)
    return maps


class ReflectionPad(nn.Module):
    """`reflected` as a layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, c, h, w) -> float (n, c, h + 2 width, w + 2 width)."""
        return reflected(maps, self.width)

    def extra_repr(self) -> str:
        """For print."""
        return f"width={self.width}"
