"""What a rank needs of every batch, made for many batches at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from distgan.parallel import World

T = TypeVar("T")


class PrefetchBuffer(Generic[T]):
    """Makes a rank's part of the next batches whenever those made before are used up.

    Between two steps the processor's caches belong to the networks, and whatever is done for
    one batch there costs three times its part of doing it for many.

    Args:
        make: from this rank's samples in each of the next batches, something for each.
        batch: images in a global (micro-)batch.
        size: of what one sample needs; batches are made ahead up to ``at_once`` of it.
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
        """What belongs to this rank's part of the global batch from sample ``images_seen``."""
        index, off = divmod(images_seen - self._first, self._batch)
        if off or not 0 <= index < len(self._made):
            starts = (images_seen + n * self._batch for n in range(self._count))
            parts = [range(s + self._part.start, s + self._part.stop) for s in starts]
            self._made, self._first, index = self._make(parts), images_seen, 0
        return self._made[index]
