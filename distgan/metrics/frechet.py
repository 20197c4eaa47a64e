"""The Frechet distance between Gaussians fitted to features: with Inception's, the FID.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash
Equilibrium" (NeurIPS 2017), equation 6; Dowson and Landau (1982).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from distgan.metrics import jackknife
from distgan.metrics.moments import Moments
from distgan.metrics.student import Spread

Folds = Sequence[Moments]
Estimate = Callable[[Folds, Folds], float]
"""Of the reals' and of the fakes' folds."""


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


def of_folds(real: Folds, fake: Folds) -> float:
    """The distance of all images together."""
    return distance(Moments.merged(real), Moments.merged(fake))


def extrapolated(real: Folds, fake: Folds) -> float:
    """The distance of infinitely many images; may be below 0.

    The distance of n images lies above it by about c / n. As Chong and Forsyth, "Effectively
    Unbiased FID and Inception Score" (CVPR 2020), a line is fitted to distances over 1 / n, and
    its value at 0 is taken; but here both sides have fewer images, as both have a share in c. The
    distances are those of all images, of four fifths (the mean of five, each without another
    fifth) and of both halves, so that every image counts as much as any other.

    Args:
        real: at least five folds, whose order says what lies in a half; as many of ``fake``.
    """
    points = [(1.0, of_folds(real, fake)), _mean(real, fake, 5, True), _mean(real, fake, 2, False)]
    inverse, values = (torch.tensor(x, dtype=torch.float64) for x in zip(*points, strict=True))
    apart = inverse - inverse.mean()
    slope = (apart * values).sum() / apart.square().sum()
    return (values.mean() - slope * inverse.mean()).item()


def _mean(real: Folds, fake: Folds, parts: int, rest: bool) -> tuple[float, float]:
    """How many times fewer images there are in each of so many parts, or in what is left without
    one, and the mean distance."""
    total = weights = 0.0
    for ours, theirs in zip(_parts(real, parts, rest), _parts(fake, parts, rest), strict=True):
        # Weighted by images, the mean of 1 / n is the number of parts / all, also of unequal ones.
        weight = sum(fold.count for fold in ours)
        total += weight * of_folds(ours, theirs)
        weights += weight
    return parts / (parts - 1 if rest else 1), total / weights


def _parts(folds: Folds, parts: int, rest: bool) -> Iterator[Folds]:
    ends = [len(folds) * part // parts for part in range(parts + 1)]
    for start, end in itertools.pairwise(ends):
        yield [*folds[:start], *folds[end:]] if rest else folds[start:end]


def spreads(estimate: Estimate, real: Folds, fake: Folds) -> tuple[Spread, Spread]:
    """The standard errors that other reals and other fakes cause, by the jackknife of each."""
    value = estimate(real, fake)
    return (
        jackknife.spread(
            [estimate(left, fake) for left in _without_each(real)], value, _sizes(real)
        ),
        jackknife.spread(
            [estimate(real, left) for left in _without_each(fake)], value, _sizes(fake)
        ),
    )


def paired_spread(estimate: Estimate, real: Folds, fake: Folds) -> Spread:
    """The same of pairs, such as images and their reconstructions, left out of both at once."""
    pairs = zip(_without_each(real), _without_each(fake), strict=True)
    return jackknife.spread([estimate(*pair) for pair in pairs], estimate(real, fake), _sizes(real))


def _without_each(folds: Folds) -> Iterator[Folds]:
    for number in range(len(folds)):
        yield [*folds[:number], *folds[number + 1 :]]


def _sizes(folds: Folds) -> list[int]:
    return [fold.count for fold in folds]


def _factor(covariance: Tensor) -> Tensor:
    # L with L L^T = covariance: Cholesky's where the rank is full, else by eigenvalues.
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.item():
        values, vectors = torch.linalg.eigh(covariance)
        factor = vectors * values.clamp_min(0).sqrt()
    return factor
