"""Grids of samples from fixed inputs, so that pictures over time can be compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from distgan.families import Batch, Family
from distgan.runs.grid import grid_png, to_uint8


@torch.no_grad()
def sample_sheet(
    family: Family, networks: Mapping[str, nn.Module], seed: int, shown: Batch | None = None
) -> bytes:
    """What a family shows of its networks, by role and in eval mode, as a PNG; see
    `distgan.families.Family.sheet`."""
    images, columns = family.sheet(networks, seed, shown)
    return grid_png(to_uint8(images), columns)
