"""The Frechet distance between Gaussians fitted to features: with Inception's, the FID.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium" (NeurIPS 2017), equation 6; Dowson and Landau (1982).
"""

from __future__ import annotations

import torch
from torch import Tensor

from distgan.metrics.moments import Moments


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """|mean1 - mean2|^2 + tr(cov1 + cov2 - 2 (cov1 cov2)^(1/2)).

    The last trace is the sum of the roots of the eigenvalues of cov1 cov2, which are those
    of the symmetric L^T cov2 L for any L with L L^T = cov1: no matrix root is needed.

    Args:
        mean1: float64 (d,), like ``mean2``.
        cov1: float64 (d, d), like ``cov2``; symmetric, positive semi-definite, of any rank.
    """
    root = _factor(cov1)
    values = torch.linalg.eigvalsh(root.T @ cov2 @ root)
    cross = values.clamp_min(0).sqrt().sum()
    gap = (mean1 - mean2).square().sum()
    value: float = (gap + cov1.trace() + cov2.trace() - 2 * cross).item()
    return value


def distance(one: Moments, other: Moments) -> float:
    """`frechet_distance` of gathered moments."""
    return frechet_distance(one.mean, one.covariance, other.mean, other.covariance)


def _factor(covariance: Tensor) -> Tensor:
    # L with L L^T = covariance: Cholesky's where the rank is full, else by eigenvalues.
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.item():
        values, vectors = torch.linalg.eigh(covariance)
        factor = vectors * values.clamp_min(0).sqrt()
    return factor
