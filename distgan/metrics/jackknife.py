"""The jackknife over folds: how much an estimate would differ with other images.

Each fold is left out in turn. Efron and Stein, "The Jackknife Estimate of Variance" (1981): on
average the estimate of the variance is no smaller than the variance itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from distgan.metrics.student import Spread

FOLDS = 10


def deal(count: int, labels: Tensor | None = None) -> Tensor:
    """The fold of each image, int64 (count,): always the same, and each image's by chance.

    Ten images at a time, one goes to each fold.

    Args:
        labels: int64 (count,), of images of which there are given numbers of each class: ten of
            one class are dealt at a time, as those numbers would be the same for other images.
    """
    groups = -(-count // FOLDS)
    draw = torch.Generator().manual_seed(0)
    dealt = torch.rand(groups, FOLDS, generator=draw).argsort(1).flatten()[:count]
    if labels is None:
        return dealt
    folds = torch.empty_like(dealt)
    folds[labels.argsort(stable=True)] = dealt
    return folds


def spread(without: Sequence[float], value: float, sizes: Sequence[int]) -> Spread:
    """Standard error of an estimate, by the jackknife of folds that may differ in size.

    Busing, Meijer and van der Leeden, "Delete-m Jackknife for Unequal m" (Statistics and
    Computing 1999), equation 5.

    Args:
        without: the estimate without each fold.
        value: that of all images.
        sizes: images in each fold.
    """
    whole = sum(sizes)
    ratios = [whole / size for size in sizes]
    pseudo = [h * value - (h - 1) * left for h, left in zip(ratios, without, strict=True)]
    middle = sum(p / h for p, h in zip(pseudo, ratios, strict=True))
    squares = ((p - middle) ** 2 / (h - 1) for p, h in zip(pseudo, ratios, strict=True))
    return Spread(math.sqrt(sum(squares) / len(sizes)), len(sizes) - 1)
