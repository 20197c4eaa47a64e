"""Does the generator repeat its training images? Nearest neighbours tell.

Alaa et al. ("How Faithful is your Synthetic Data?", ICML 2022) call a generated image copied
that lies nearer to a training image than that image's own nearest neighbour does; Meehan et
al. (AISTATS 2020) compare with images held out, as `Memorisation.ratio` does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS_AT_ONCE = 2_000


class Neighbours(NamedTuple):
    """The training image nearest to each generated one."""

    distance: Tensor
    """float64 (n,)."""
    row: Tensor
    """int64 (n,), of the training features."""


class Memorisation(NamedTuple):
    """How near generated images come to training images."""

    copied: float
    """Share nearer to a training image than any other training image is to that one."""
    ratio: float
    """Median distance to the nearest training image, over that of images held out: 1 where
    generated images are no nearer than unseen real ones are, towards 0 where they are copies."""


def nearest(training: Tensor, samples: Tensor) -> Neighbours:
    """The nearest of ``training``, float (m, d), for each of ``samples``, float (n, d)."""
    training = training.double()
    found = [
        torch.cdist(rows, training, compute_mode="donot_use_mm_for_euclid_dist").min(1)
        for rows in torch.split(samples.double(), _ROWS_AT_ONCE)
    ]
    return Neighbours(torch.cat([f.values for f in found]), torch.cat([f.indices for f in found]))


def memorisation(training: Tensor, held_out: Tensor, fake: Tensor) -> Memorisation:
    """Compare generated with held-out images, all as float features of one extractor."""
    distances, index = nearest(training, fake)
    matched, where = torch.unique(index, return_inverse=True)
    apart = torch.cdist(
        training[matched].double(), training.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    own = apart.kthvalue(2, dim=1).values[where]
    usual = nearest(training, held_out).distance.median()
    return Memorisation(
        copied=(distances < own).double().mean().item(),
        ratio=(distances.median() / usual).item(),
    )
