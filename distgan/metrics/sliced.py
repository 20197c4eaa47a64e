"""The sliced Wasserstein distance between images, which needs no network to see with.

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
    """The 1-Wasserstein distance along random directions of length 1, on average.

    Pictures of any size that are alike but for a brightness higher by c are about
    sqrt(2 / pi) c apart.

    Args:
        real: float (n, ...), flattened; like ``fake``. The longer of them is cut.
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
