"""Whether a generator reproduces its training images, judged by nearest neighbours.

Alaa et al. ("How Faithful is your Synthetic Data?", ICML 2022) call a generated image copied if
it is no further from a training image than that image's nearest neighbour among the others, so
that a copy of an image that occurs twice counts too; Meehan et al. (AISTATS 2020) compare with
held-out images, as `Memorisation.ratio` does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_ROWS_AT_ONCE = 1_000
_MOST_LEFT_OUT = 5_000


class Neighbours(NamedTuple):
    """The training image nearest to each generated one."""

    distance: Tensor
    """float64 (n,)."""
    row: Tensor
    """int64 (n,), its row in the training features."""


class Memorisation(NamedTuple):
    """How near generated images come to training images."""

    copied: float
    """Share of generated images as near to a training image as any other training image is, or
    nearer."""
    ratio: float
    """Median distance to the nearest training image, divided by that of held-out images: 1 where
    generated images are as far as unseen real ones, near 0 where they are copies."""


def nearest(training: Tensor, samples: Tensor) -> Neighbours:
    """The nearest of ``training``, float (m, d), for each of ``samples``, float (n, d)."""
    return _nearest(training.double(), samples.double(), None)


def nearest_other(training: Tensor, rows: Tensor) -> Neighbours:
    """The nearest other of ``training``, float (m, d), for those of its ``rows``, int64 (n,)."""
    training = training.double()
    return _nearest(training, training[rows], rows)


def _nearest(training: Tensor, samples: Tensor, own: Tensor | None) -> Neighbours:
    rows: list[Tensor] = []
    for start in range(0, len(samples), _ROWS_AT_ONCE):
        part = samples[start : start + _ROWS_AT_ONCE]
        apart = torch.cdist(part, training)
        if own is not None:
            apart[torch.arange(len(part)), own[start : start + _ROWS_AT_ONCE]] = torch.inf
        rows.append(apart.argmin(1))
    row = torch.cat(rows)
    # The neighbour is found with a matrix product, which is fast but rounds; its distance is then
    # computed from the difference.
    return Neighbours((samples - training[row]).norm(dim=1), row)


def memorisation(training: Tensor, held_out: Tensor | None, fake: Tensor) -> Memorisation:
    """Compare generated with held-out images, all as float features of one extractor.

    Args:
        held_out: None compares with up to 5,000 training images, each left out of the others.
    """
    distances, index = nearest(training, fake)
    matched, where = torch.unique(index, return_inverse=True)
    own = nearest_other(training, matched).distance[where]
    if held_out is None:
        count = min(len(training), _MOST_LEFT_OUT)
        usual = nearest_other(training, torch.arange(count) * len(training) // count).distance
    else:
        usual = nearest(training, held_out).distance
    return Memorisation(
        copied=(distances <= own).double().mean().item(),
        # The mean of the middle two of an even number, where torch's own median is the lower one.
        ratio=(distances.quantile(0.5) / usual.quantile(0.5)).item(),
    )
