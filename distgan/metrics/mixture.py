"""Modes of a known mixture of Gaussians that samples reach.

Srivastava et al., "VEEGAN" (NeurIPS 2017), section 5.1: the ring of eight and the grid of 25.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class MixtureCoverage(NamedTuple):
    """How much of a mixture samples cover."""

    found: int
    """Modes that at least ``least`` samples reach."""
    quality: float
    """Share of samples that lie in some mode."""


def mixture_coverage(
    samples: Tensor, centres: Tensor, deviation: float, *, reach: float = 3.0, least: int = 20
) -> MixtureCoverage:
    """Count modes with samples within ``reach`` standard deviations of their centres.

    Args:
        samples: float (n, d).
        centres: float (modes, d).
        deviation: of each Gaussian, the same in all directions.
        least: samples that make a mode found.
    """
    apart = torch.cdist(samples.double(), centres.double())
    nearest, mode = apart.min(1)
    inside = nearest <= reach * deviation
    counts = torch.bincount(mode[inside], minlength=len(centres))
    return MixtureCoverage(int((counts >= least).sum().item()), inside.double().mean().item())
