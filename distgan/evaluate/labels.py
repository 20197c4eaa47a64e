"""Labels of generated images, by the shares of the classes in the data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.data.images import ImageSet
from distgan.data.labels import class_counts
from distgan.parallel import World

_GOLDEN = (5**0.5 - 1) / 2


def by_shares(counts: NDArray[np.int64], num: int) -> Tensor:
    """A label for each of ``num`` images, int64 (num,); the first ones of more are the same.

    Class c gets its j-th image when its turn (j - start) / share comes, so that any number of first
    images holds about as many of it as its share says, and as many images as the data have hold
    just those of the data. Classes of equal shares take turns. Otherwise their starts are spread
    over (0, 1): of many classes with less than an image each, as many get one as their shares add
    up to.

    Args:
        counts: images of each class in the data, int64 (classes,); where all are 0, shares are
            equal.
    """
    classes, total = len(counts), int(counts.sum())
    if total == 0:
        return by_shares(np.ones_like(counts), num)
    start = np.full(classes, 0.5)
    if counts.min() != counts.max():
        start = (0.5 + _GOLDEN * np.arange(classes)) % 1
    # No class has more: the last turn comes before num + classes.
    each = ((num + classes) * counts // total + 2) * (counts > 0)
    labels = np.repeat(np.arange(classes), each)
    before = np.arange(len(labels)) - np.repeat(np.cumsum(each) - each, each)
    turns = (before + 1 - start[labels]) / counts[labels]
    return torch.from_numpy(labels[np.lexsort((labels, turns))][:num])


def counts_of(images: ImageSet, world: World) -> NDArray[np.int64]:
    """`class_counts`, which rank 0 reads; all ranks must call it."""
    found: NDArray[np.int64] = world.gather(class_counts(images) if world.leads else None)[0]
    return found
