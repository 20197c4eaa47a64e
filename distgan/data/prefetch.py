"""Prepares a rank's part of many batches at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from distgan.parallel import World

T = TypeVar("T")


class PrefetchBuffer(Generic[T]):
    """Makes a rank's part of the next batches when the previous ones are used up.

    Between two steps the processor's caches hold the networks' data, and work for one batch then
    takes three times its share of the work for many batches at once.

    Args:
        make: maps this rank's samples in each of the next batches to one result per batch.
        batch: images in a global (micro-)batch.
        size: of one sample's result; batches are made ahead up to ``at_once`` of this unit.
    """

    def __init__(
        self,
        make: Callable[[Sequence[range]], Sequence[T]],
        batch: int,
        world: World,
        size: int,
        at_once: int,
    ) -> None:
        self._make, self._batch, self._part = make, batch, world.share(batch)
        samples = self._part.stop - self._part.start
        self._count = max(1, at_once // max(1, samples * size))
        self._first = 0
        self._made: Sequence[T] = ()

    def batch(self, images_seen: int) -> T:
        """The result for this rank's part of the global batch that begins at ``images_seen``."""
        index, off = divmod(images_seen - self._first, self._batch)
        if off or not 0 <= index < len(self._made):
            starts = (images_seen + n * self._batch for n in range(self._count))
            parts = [range(s + self._part.start, s + self._part.stop) for s in starts]
            self._made, self._first, index = self._make(parts), images_seen, 0
        return self._made[index]
