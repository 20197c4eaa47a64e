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
    """Mean over subsets, and its standard error, which is nan for fewer than three images."""

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

    Subsets of the same images overlap, so their values spread less than values of independent
    images would. The variance of a U-statistic falls as 1 / images (Hoeffding 1948): of the
    variance of a subset with a share s of all images, a part 1 - s is the variance between
    subsets of the same images, and a part s is the variance of the estimate from all images.

    The error is too large where the two distributions are nearly the same, as the variance then
    falls as 1 / images^2; and where there are many more of one side than of the
    other, as s is that of the fewer.

    Args:
        real: float (m, d) features, like ``fake``, (n, d).
        subsets: how many pairs of subsets.
        size: features in each; at most half of those there are.
        seed: decides the subsets.
    """
    real, fake = real.double(), fake.double()
    fewest = min(len(real), len(fake))
    size = min(size, max(2, fewest // 2))
    draw = torch.Generator().manual_seed(seed)

    def subset(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=draw)[:size]]

    found = [squared_mmd(subset(real), subset(fake)) for _ in range(subsets)]
    share, error = size / fewest, float("nan")
    if len(found) > 1 and share < 1:
        error = statistics.stdev(found) * (share / (1 - share) + 1 / len(found)) ** 0.5
    return KernelDistance(statistics.fmean(found), error)
