"""Resident mode: all images are decoded in memory, and batches are gathered from there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from distgan.data.damage import Damage
from distgan.data.feed import Rows
from distgan.data.order import ShuffledOrder
from distgan.data.pixels import Pixels
from distgan.data.prefetch import PrefetchBuffer
from distgan.parallel import World

_BYTES_AT_ONCE = 2**21
"""Bytes of pixels gathered at once: takes a quarter of the time of gathering MNIST batches one by
one."""


class Resident:
    """This rank's part of any global batch, from a set in memory.

    Args:
        pixels: the whole set, in memory that the processes of a node may share.
        batch: images in a global batch.
        damage: counts damaged images.

    Raises:
        UserError: for more damaged images than are allowed.
    """

    def __init__(self, pixels: Pixels, seed: int, batch: int, world: World, damage: Damage) -> None:
        self._order = ShuffledOrder(seed, len(pixels.images))
        self._shape = pixels.images.shape[1:]
        # One row per image: torch gathers rows of a matrix ten times faster than blocks.
        self._rows = borrow(pixels.images).flatten(1)
        self._labels = None if pixels.labels is None else borrow(pixels.labels)
        # At most one epoch of a small set, as each epoch needs a permutation.
        at_once = min(_BYTES_AT_ONCE, self._rows.numel())
        self._ahead = PrefetchBuffer(self._gather, batch, world, self._rows[0].numel(), at_once)
        damage.add(np.flatnonzero(pixels.replaced))

    def batch(self, images_seen: int) -> Rows:
        """This rank's part of the global batch from sample ``images_seen``."""
        return self._ahead.batch(images_seen)

    def _gather(self, parts: Sequence[range]) -> list[Rows]:
        found = [self._order.images(part.start, len(part)) for part in parts]
        numbers = torch.from_numpy(np.concatenate(found))
        images = self._rows.index_select(0, numbers).view(-1, *self._shape).chunk(len(parts))
        if self._labels is None:
            return [Rows(part, None) for part in images]
        labels = self._labels.index_select(0, numbers).chunk(len(parts))
        return list(map(Rows, images, labels))

    def close(self) -> None:
        """Does nothing: there is no background thread."""


def borrow(array: object) -> Tensor:
    """A tensor that shares an array's memory, which may be read-only."""
    # Ray's shared memory is read-only; torch warns about it, but nothing here writes to it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
