"""Grids of samples from fixed inputs, so that pictures over time can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from distgan.families import Batch, Family
from distgan.families.clip_family import ClipFamily, strips
from distgan.runs.animation import small
from distgan.runs.grid import grid_png, to_uint8

FOLDER = "samples"
"""In a run's folder: grids, and of a model of clips what moves beside them."""


class Sheet(NamedTuple):
    """What a family shows of its networks: a PNG, and of clips also an animated WEBP of them."""

    picture: bytes
    animation: bytes = b""


def name(images: int, ending: str = "png") -> str:
    """The file, in a run's folder, of the sheet after so many images."""
    return f"{FOLDER}/images-{images:012d}.{ending}"


@torch.no_grad()
def sample_sheet(
    family: Family, networks: Mapping[str, nn.Module], seed: int, shown: Batch | None = None
) -> Sheet:
    """What a family shows of its networks, by role and in eval mode; see
    `distgan.families.Family.sheet`."""
    if isinstance(family, ClipFamily):
        # Made once for both.
        clips = family.sheet_clips(networks, seed)
        images, columns = strips(clips)
        animation = small(to_uint8(clips), family.fps)
        return Sheet(grid_png(to_uint8(images), columns), animation)
    images, columns = family.sheet(networks, seed, shown)
    return Sheet(grid_png(to_uint8(images), columns))
