"""Which image every sample of a run is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distgan import draws


class Order:
    """Sample s of a run is image ``permutation(seed, s // count)[s % count]``.

    Every epoch shows every image once, and a batch that reaches past the end of an
    epoch goes on into the next. The order depends on nothing else, so the position of a
    run in its data is the number of images seen.

    Args:
        seed: the run's seed.
        count: images in the set.
    """

    def __init__(self, seed: int, count: int) -> None:
        self.seed, self.count = seed, count
        self._epoch = -1
        self._permutation: NDArray[np.int64] = np.empty(0, np.int64)

    def images(self, first: int, count: int) -> NDArray[np.int64]:
        """Numbers of the images at samples ``first`` to ``first + count - 1``: int64 (count,)."""
        parts = []
        while count > 0:
            epoch, offset = divmod(first, self.count)
            if epoch != self._epoch:
                self._permutation = draws.permutation(self.seed, epoch, self.count)
                self._epoch = epoch
            part = self._permutation[offset : offset + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
