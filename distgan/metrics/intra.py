"""The Frechet distance within each class of a conditional generator.

Miyato and Koyama, "cGANs with Projection Discriminator" (ICLR 2018), section 4. The distance
over all images does not change when a generator swaps classes; this one does. Each class has few
images, so that these distances lie further above those of infinitely many images than that of the
whole does: the two do not compare.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from distgan.metrics import frechet
from distgan.metrics.moments import Moments


class IntraClass(NamedTuple):
    """Frechet distances between real and generated images of the same class."""

    mean: float
    """Over the classes."""
    worst: float
    worst_class: int
    compared: int
    """Classes with two images or more on both sides; others are left out."""


def intra_class(real: Tensor, real_labels: Tensor, fake: Tensor, fake_labels: Tensor) -> IntraClass:
    """Compare class by class.

    Args:
        real: float (m, d) features, like ``fake``, (n, d).
        real_labels: int64 (m,), like ``fake_labels``, (n,). Classes of fewer than two images
            on either side are left out.

    Raises:
        ValueError: when that leaves none.
    """
    found: dict[int, float] = {}
    for label in torch.unique(fake_labels).tolist():
        sides = [real[real_labels == label], fake[fake_labels == label]]
        if min(map(len, sides)) < 2:
            continue
        found[label] = frechet.distance(*map(Moments.of, sides))
    if not found:
        raise ValueError("no class has two images on both sides")
    worst = max(found, key=lambda label: found[label])
    return IntraClass(sum(found.values()) / len(found), found[worst], worst, len(found))
