"""The kernel distance between sets of features: with Inception's, the KID.

Binkowski et al., "Demystifying MMD GANs" (ICLR 2018), section 4: the squared maximum mean
discrepancy under the kernel (x.y / d + 1)^3, by the unbiased estimator of Gretton et al.
(2012), lemma 6.
"""

from __future__ import annotations

import statistics
from typing import NamedTuple

import torch
from torch import Tensor


class KernelDistance(NamedTuple):
    """Mean over subsets, and the standard error of that mean."""

    value: float
    error: float


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate from float64 (m, d) and (n, d); may be below 0."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def off_diagonal(matrix: Tensor) -> Tensor:
        n = len(matrix)
        return (matrix.sum() - matrix.trace()) / (n * (n - 1))

    within = off_diagonal(kernel(x, x)) + off_diagonal(kernel(y, y))
    return (within - 2 * kernel(x, y).mean()).item()


def kernel_distance(
    real: Tensor, fake: Tensor, *, subsets: int = 100, size: int = 1_000, seed: int = 0
) -> KernelDistance:
    """The mean over random subsets, drawn without replacement within each.

    Args:
        real: float (m, d) features, like ``fake``, (n, d).
        subsets: how many pairs of subsets.
        size: features in each; at most as many as there are.
        seed: decides the subsets.
    """
    real, fake = real.double(), fake.double()
    size = min(size, len(real), len(fake))
    draw = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=draw)[:size]]

    found = [squared_mmd(subset(real), subset(fake)) for _ in range(subsets)]
    error = statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else float("nan")
    return KernelDistance(statistics.fmean(found), error)
