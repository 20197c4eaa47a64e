"""Halving of maps by a small filter, and doubling by bilinear interpolation, in torch's way or in
one that repeats to the bit.

The gradient of torch's interpolation is added up on a GPU in an order that varies. Where
`torch.use_deterministic_algorithms` is on, the same weights are written out as products and sums
of shifted maps. These have derivatives of any order, and no order of their own.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from distgan.networks.padding import reflected


def double(maps: Tensor, beyond: Literal["edge", "zeros"] = "edge") -> Tensor:
    """float (n, c, h, w) -> float (n, c, 2h, 2w), filtered by [1, 3, 3, 1] / 4 a side.

    Args:
        beyond: what lies outside of the maps: their edge, as in torch, or zeros.
    """
    if torch.are_deterministic_algorithms_enabled():
        return _double_side(_double_side(maps, 2, beyond), 3, beyond)
    if beyond == "edge":
        return _interpolated(maps)
    return _interpolated(functional.pad(maps, (1, 1, 1, 1)))[:, :, 2:-2, 2:-2]


def _interpolated(maps: Tensor) -> Tensor:
    return functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _double_side(maps: Tensor, side: int, beyond: str) -> Tensor:
    size = maps.shape[side]
    first, last = maps.narrow(side, 0, 1), maps.narrow(side, size - 1, 1)
    if beyond == "zeros":
        first, last = torch.zeros_like(first), torch.zeros_like(last)
    before = torch.cat([first, maps.narrow(side, 0, size - 1)], side)
    after = torch.cat([maps.narrow(side, 1, size - 1), last], side)
    middle = 0.75 * maps
    pair = torch.stack([middle + 0.25 * before, middle + 0.25 * after], side + 1)
    return pair.flatten(side, side + 1)


def halve(maps: Tensor) -> Tensor:
    """float (n, c, h, w) -> float (n, c, ceil(h/2), ceil(w/2)), filtered by [1, 2, 1] / 4 a side.

    Zhang, "Making Convolutional Networks Shift-Invariant Again" (ICML 2019), with the edges
    reflected.
    """
    # Filled on the device: copying constants from the host would synchronise with a GPU.
    side = maps.new_full((3,), 0.25)
    side[1:2].fill_(0.5)
    kernel = torch.outer(side, side).expand(maps.shape[1], 1, 3, 3)
    # Of the padding behind the last pixel nothing is used where a side is even.
    return functional.conv2d(reflected(maps, 1), kernel, stride=2, groups=maps.shape[1])


class Double(nn.Module):
    """`double` as a layer."""

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, c, h, w) -> float (n, c, 2h, 2w)."""
        return double(maps)


class Halve(nn.Module):
    """`halve` as a layer."""

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, c, h, w) -> float (n, c, ceil(h/2), ceil(w/2))."""
        return halve(maps)
