"""The sliced Wasserstein distance between images, computed on pixels without a network.

Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures" (JMIV 2015), section 2:
the mean over random directions of the distance between the projections, which on a line is
that of sorted numbers, one to one.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sliced_wasserstein(
    real: Tensor, fake: Tensor, *, directions: int = 512, seed: int = 0
) -> float:
    """Mean 1-Wasserstein distance between projections on random directions of length 1.

    Images of any size that differ by a constant brightness c have a distance of about
    sqrt(2 / pi) c.

    Args:
        real: float (n, ...), flattened; like ``fake``. Only as many as the smaller set are used.
        directions: how many.
        seed: decides the directions.
    """
    count = min(len(real), len(fake))
    one, other = (images[:count].flatten(1).float() for images in (real, fake))
    draw = torch.Generator().manual_seed(seed)
    slopes = torch.randn(one.shape[1], directions, generator=draw)
    slopes /= slopes.norm(dim=0)
    apart = (one @ slopes).sort(0).values - (other @ slopes).sort(0).values
    value: float = apart.abs().double().mean().item()
    return value
