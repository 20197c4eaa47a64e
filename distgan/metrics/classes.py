"""Metrics from a classifier's outputs: confidence, and the distribution over classes.

Salimans et al., "Improved Techniques for Training GANs" (NeurIPS 2016), section 4: the score,
which with Inception is the Inception score. The histogram of classes is Srivastava et al.'s
test of mode collapse ("VEEGAN", NeurIPS 2017): on Stacked MNIST, with 1,000 classes, papers report
the modes found and the divergence from uniform, called reverse KL; PacGAN's code of 26,000 images.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

import torch
from torch import Tensor


class ClassifierScore(NamedTuple):
    """The score, from 1 (all predictions equal) to the number of classes."""

    value: float
    """Mean over the splits."""
    error: float
    """Standard deviation over the splits."""


SPLITS = 10


def classifier_score(probabilities: Tensor, splits: int = SPLITS, seed: int = 0) -> ClassifierScore:
    """exp(E[KL(p(y | x) || p(y))]), p(y) being each split's own mean.

    A split's score is at most the number of its images, and lies below that of more images.

    Args:
        probabilities: float (n, classes), rows that sum to 1.
        splits: number of parts, whose sizes differ by at most one.
        seed: decides which images each part holds, as their order may be one of classes.

    Raises:
        ValueError: for fewer images than splits.
    """
    if len(probabilities) < splits:
        raise ValueError(f"{splits} splits need as many images, not {len(probabilities)}")
    draw = torch.Generator().manual_seed(seed)
    mixed = probabilities.double()[torch.randperm(len(probabilities), generator=draw)]
    scores = []
    for part in torch.tensor_split(mixed, splits):
        surprise = torch.xlogy(part, part) - torch.xlogy(part, part.mean(0))
        scores.append(surprise.sum(1).mean().exp().item())
    error = statistics.stdev(scores) if splits > 1 else float("nan")
    return ClassifierScore(statistics.fmean(scores), error)


class ModeCoverage(NamedTuple):
    """Which classes occur among generated images, and how evenly."""

    histogram: tuple[float, ...]
    """Share of each class."""
    entropy: float
    """Of the histogram, divided by that of the uniform one: from 0, one class, to 1, uniform."""
    missing: int
    """Number of classes with less than a tenth of their share among the reals."""
    divergence: float
    """KL(histogram || that of the reals), in nats."""
    found: int
    """Number of classes with at least one image."""
    from_uniform: float
    """KL(histogram || uniform), in nats: from 0 to the logarithm of the number of classes.

    Of n images drawn evenly from K classes it is (K - 1) / (2n) in expectation, to first order
    (Miller 1955): 0.019 for 26,000 images and 1,000 classes. Images drawn from Stacked MNIST itself
    add to this what its digits, which are not equally frequent, differ from uniform."""


def mode_coverage(fake: Tensor, real: Tensor) -> ModeCoverage:
    """Compare the classes of generated images with those of real ones.

    Args:
        fake: int64 (classes,), number of images of each class; like ``real``.
    """
    shares, expected = (counts.double() / counts.sum() for counts in (fake, real))
    seen = shares > 0
    most = math.log(len(shares))
    entropy = torch.special.entr(shares).sum()
    # Without the bound, a class of fakes that no real image has makes the divergence infinite.
    ratios = shares[seen] / expected[seen].clamp_min(1e-12)
    return ModeCoverage(
        histogram=tuple(shares.tolist()),
        entropy=(entropy / most).item(),
        missing=int((shares < 0.1 * expected).sum().item()),
        divergence=(shares[seen] * ratios.log()).sum().item(),
        found=int(seen.sum().item()),
        from_uniform=(most - entropy).clamp_min(0).item(),
    )
