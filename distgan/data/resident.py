"""Resident mode: all images are decoded in memory, and batches are gathered from there."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.data.damage import Damage
from distgan.data.feed import Rows
from distgan.data.order import ShuffledOrder
from distgan.data.pixels import Pixels
from distgan.data.prefetch import PrefetchBuffer
from distgan.data.sides import Side
from distgan.parallel import World

BYTES_AT_ONCE = 2**21
"""Bytes of pixels gathered at once: takes a quarter of the time of gathering MNIST batches one by
one."""


class Resident:
    """This rank's part of any global batch, from a set in memory.

    Args:
        pixels: the whole set, in memory that the processes of a node may share.
        batch: images in a global batch.
        damage: counts damaged images.
        side: which images of the set, and in which order; None for all, in that of a run's set.

    Raises:
        UserError: for more damaged images than are allowed.
    """

    def __init__(
        self,
        pixels: Pixels,
        seed: int,
        batch: int,
        world: World,
        damage: Damage,
        side: Side | None = None,
    ) -> None:
        side = side or Side(range(len(pixels.images)))
        pixels = pixels.take(slice(side.numbers.start, side.numbers.stop))
        self._order = ShuffledOrder(seed, len(pixels.images), side.suffix)
        self._images = Matrix(pixels.images)
        self._labels = None if pixels.labels is None else borrow(pixels.labels)
        self._pairs = None if pixels.pairs is None else Matrix(pixels.pairs)
        size = self._images.row + (0 if self._pairs is None else self._pairs.row)
        # At most one epoch of a small set, as each epoch needs a permutation.
        at_once = min(BYTES_AT_ONCE, size * len(pixels.images))
        self._ahead = PrefetchBuffer(self._gather, batch, world, size, at_once)
        damage.add(side.numbers.start + np.flatnonzero(pixels.replaced), side.second)

    def batch(self, images_seen: int) -> Rows:
        """This rank's part of the global batch from sample ``images_seen``."""
        return self._ahead.batch(images_seen)

    def _gather(self, parts: Sequence[range]) -> list[Rows]:
        found = [self._order.images(part.start, len(part)) for part in parts]
        numbers = torch.from_numpy(np.concatenate(found))
        labels = None if self._labels is None else self._labels.index_select(0, numbers)
        pairs = None if self._pairs is None else self._pairs.take(numbers)

        def cut(part: Tensor | None) -> Sequence[Tensor | None]:
            return [None] * len(parts) if part is None else part.chunk(len(parts))

        images = self._images.take(numbers).chunk(len(parts))
        return list(map(Rows, images, cut(labels), cut(pairs)))

    def close(self) -> None:
        """Does nothing: there is no background thread."""


class Matrix:
    """Images with one row for each: torch gathers rows of a matrix ten times faster than blocks."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self.shape = images.shape[1:]
        self._rows = borrow(images).flatten(1)
        self.row = self._rows.shape[1]

    def take(self, numbers: Tensor) -> Tensor:
        """Those of these numbers, int64 (n,): uint8 (n, h, w, c)."""
        return self._rows.index_select(0, numbers).view(-1, *self.shape)


def borrow(array: object) -> Tensor:
    """A tensor that shares an array's memory, which may be read-only."""
    # Ray's shared memory is read-only; torch warns about it, but nothing here writes to it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
