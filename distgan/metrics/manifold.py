"""Fidelity and diversity as separate values: precision and recall, density and coverage.

Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models"
(NeurIPS 2019); Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models"
(ICML 2020). Around every feature vector lies a ball that reaches its k-th nearest neighbour
in its own set, that neighbour included, as Kynkaanniemi et al. write; the package of Naeem et al.,
``prdc``, leaves it out, which differs where images occur more than once: with k copies of an image
the ball has the radius 0, and density may exceed 1 by far.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBOURS = 5
_ROWS_AT_ONCE = 2_000


class Manifold(NamedTuple):
    """Shares from 0 to 1, except density, which may exceed 1."""

    precision: float
    """Share of fakes that lie in the ball of some real."""
    recall: float
    """Share of reals that lie in the ball of some fake."""
    density: float
    """Mean number of reals' balls that a fake lies in, divided by k."""
    coverage: float
    """Share of reals whose ball contains a fake."""


def manifold(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> Manifold:
    """All four measures.

    Args:
        real: float (m, d) features, like ``fake``, (n, d); both of more than k rows.
        k: neighbours, 5 in Naeem et al. and 3 in Kynkaanniemi et al.
    """
    real, fake = real.double(), fake.double()
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    in_balls_of = torch.zeros(len(fake), dtype=torch.int64)
    recalled: list[Tensor] = []
    covered: list[Tensor] = []
    for rows, radii in zip(
        torch.split(real, _ROWS_AT_ONCE), torch.split(real_radii, _ROWS_AT_ONCE), strict=True
    ):
        apart = torch.cdist(rows, fake, compute_mode="donot_use_mm_for_euclid_dist")
        inside = apart <= radii[:, None]
        in_balls_of += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((apart <= fake_radii).any(1))
    return Manifold(
        precision=(in_balls_of > 0).double().mean().item(),
        recall=torch.cat(recalled).double().mean().item(),
        density=in_balls_of.double().mean().item() / k,
        coverage=torch.cat(covered).double().mean().item(),
    )


def _radii(features: Tensor, k: int) -> Tensor:
    # The distance to the k-th nearest other vector: the (k + 1)-th smallest, as the vector itself
    # is at distance 0.
    found = [
        torch.cdist(rows, features, compute_mode="donot_use_mm_for_euclid_dist")
        .kthvalue(k + 1, dim=1)
        .values
        for rows in torch.split(features, _ROWS_AT_ONCE)
    ]
    return torch.cat(found)
