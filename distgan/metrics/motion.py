"""How clips move, told from pixels without a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from distgan.metrics import jackknife, student
from distgan.metrics.student import Spread

DARK = 64
"""Brightness of 255 from which on a pixel counts as part of a thing that moves."""


def frame_differences(clips: Tensor) -> Tensor:
    """By how much pixels differ from those of the frame before, on average.

    0 where nothing moves. Shuffled frames and noise make it larger.

    Args:
        clips: uint8 (n, frames, c, h, w).

    Returns:
        float64 (n, frames - 1), of pixels in [0, 1].
    """
    found = [
        (one.int() - other.int()).abs().double().mean((1, 2, 3)) / 255
        for one, other in zip(clips[:, 1:].unbind(1), clips[:, :-1].unbind(1), strict=True)
    ]
    return torch.stack(found, 1)


def centroids(frames: Tensor) -> Tensor:
    """Where the bright things of frames are: the centre of mass of what is not `DARK`.

    Of several things it is that of all together. Of a dark frame it is the middle.

    Args:
        frames: uint8 (..., c, h, w); of colours the mean counts.

    Returns:
        pixels across and down from the middle of the upper left pixel, float64 (..., 2).
    """
    mass = (frames.double().mean(-3) - DARK).clamp_min(0)
    height, width = mass.shape[-2:]
    down = torch.arange(height, dtype=torch.float64, device=mass.device)
    across = torch.arange(width, dtype=torch.float64, device=mass.device)
    whole = mass.sum((-2, -1))
    sums = torch.stack([mass.sum(-2) @ across, mass.sum(-1) @ down], -1)
    middle = sums.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return torch.where(whole[..., None] > 0, sums / whole[..., None], middle)


def speeds(clips: Tensor) -> Tensor:
    """How far `centroids` move from each frame to the next: uint8 (n, frames, c, h, w) -> pixels a
    frame, float64 (n, frames - 1)."""
    found: Tensor = torch.linalg.vector_norm(centroids(clips).diff(dim=1), dim=-1)
    return found


def wasserstein(one: Tensor, other: Tensor) -> float:
    """The 1-Wasserstein distance of two samples on a line: the area between their distribution
    functions (Vallender 1974).

    Args:
        one: float (n,), like ``other``, (m,).
    """
    one, other = (sample.double().sort().values for sample in (one, other))
    places = torch.cat([one, other]).sort().values
    shares = [
        torch.searchsorted(sample, places[:-1], right=True).double() / len(sample)
        for sample in (one, other)
    ]
    value: float = ((shares[0] - shares[1]).abs() * places.diff()).sum().item()
    return value


def wasserstein_spread(real: Tensor, fake: Tensor) -> Spread:
    """The standard error of `wasserstein` of all numbers, by the jackknife over clips.

    Args:
        real: float (n, k), k numbers of each clip; like ``fake``, (m, k).
    """
    value = wasserstein(real.flatten(), fake.flatten())
    sides = ((real, fake), (fake, real))
    return student.total(*(_side_spread(rows, rest, value) for rows, rest in sides))


def _side_spread(rows: Tensor, rest: Tensor, value: float) -> Spread:
    """The part of it that other ``rows`` would cause; unknown of a single one."""
    if len(rows) < 2:
        return Spread(math.nan, 1)
    folds = jackknife.deal(len(rows))
    known = [fold for fold in range(jackknife.FOLDS) if (folds == fold).any()]
    left = [wasserstein(rows[folds != fold].flatten(), rest.flatten()) for fold in known]
    return jackknife.spread(left, value, [int((folds == fold).sum()) for fold in known])
