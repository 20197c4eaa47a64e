"""The order of the images: which image each sample of a run is.

Samples are numbered through a run; global batch k of B images holds the samples kB to
kB + B - 1. Both orders are functions of the sample's number alone, so the position of a run in
its data is the number of images seen, and the order does not depend on the number of workers.
Every epoch contains every image once; a batch at the end of an epoch continues in the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distgan import draws

Numbers = NDArray[np.int64]

OTHER = "-other"
"""Ends the names of the streams of random numbers of a run's second set."""


class ShuffledOrder:
    """Sample s is image ``permutation(seed, s // count)[s % count]``.

    Args:
        seed: the run's seed.
        count: images in the set.
        suffix: of the stream's name.
    """

    def __init__(self, seed: int, count: int, suffix: str = "") -> None:
        self.seed, self.count, self._stream = seed, count, f"order{suffix}"
        self._epoch = -1
        self._permutation: Numbers = np.empty(0, np.int64)

    def images(self, first: int, count: int) -> Numbers:
        """Numbers of the images at samples ``first`` to ``first + count - 1``: int64 (count,)."""
        parts = []
        while count > 0:
            epoch, offset = divmod(first, self.count)
            if epoch != self._epoch:
                self._permutation = draws.permutation(self.seed, self._stream, epoch, self.count)
                self._epoch = epoch
            part = self._permutation[offset : offset + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


@dataclass(frozen=True)
class Window:
    """One rank's part of a shuffle window.

    ``places`` are the ranges of rows to read, in order, each (row group, first row, end row) with
    row groups numbered through all files. ``samples`` are the rank's samples in this window,
    ascending, and ``rows`` the index of each of them among the rows read. The window covers the
    samples ``start`` to ``stop - 1`` of all ranks.
    """

    start: int
    stop: int
    places: tuple[tuple[int, int, int], ...]
    samples: Numbers
    rows: Numbers

    @property
    def size(self) -> int:
        """Number of rows to read."""
        return sum(stop - start for _, start, stop in self.places)


class StreamedOrder:
    """Row groups in a new order each epoch, and images shuffled within windows of it.

    An epoch concatenates all row groups in a seeded order and cuts this sequence into windows.
    Each position p of the global batch belongs to lane ``p * lanes // batch``. A window is divided
    into consecutive ranges, one per lane, and each range is permuted on its own. So every batch
    has images from all parts of the window, while a rank, which owns consecutive positions, reads
    only the ranges of its own lanes. (Lanes correspond to the canonical nodes of MosaicML
    Streaming.)

    Args:
        seed: the run's seed.
        groups: rows of every row group, through all files.
        batch: images in a global batch.
        window: images in a window.
        lanes: how many; with more ranks than lanes some rows are read by several ranks.
        suffix: of the streams' names.
    """

    def __init__(
        self,
        seed: int,
        groups: tuple[int, ...],
        batch: int,
        window: int,
        lanes: int,
        suffix: str = "",
    ) -> None:
        self._seed, self._batch, self._lanes = seed, batch, min(lanes, batch)
        self._suffix = suffix
        self._groups = np.array(groups, np.int64)
        self.count = int(self._groups.sum())
        self._window = min(window, self.count)
        self._epoch = -1
        self._line: Numbers = np.empty(0, np.int64)
        self._starts: Numbers = np.empty(0, np.int64)

    def window(self, sample: int, parts: Sequence[slice]) -> Window:
        """The window in which a sample lies, for the rank that owns ``parts`` of each batch."""
        epoch, offset = divmod(sample, self.count)
        number = offset // self._window
        first = number * self._window
        size = min(self._window, self.count - first)
        self._enter(epoch)
        start = epoch * self.count + first
        samples = np.arange(start, start + size)
        positions = samples % self._batch
        lane_of = positions * self._lanes // self._batch
        counts = np.bincount(lane_of, minlength=self._lanes)
        runs = np.concatenate([[0], np.cumsum(counts)])
        owned = np.zeros(self._batch, np.bool_)
        for part in parts:
            owned[part] = True
        mine = owned[positions]
        rows = np.empty(size, np.int64)
        spans: list[tuple[int, int]] = []
        read = 0
        for lane in np.unique(lane_of[mine]):
            key, count = f"window-{number}-lane-{lane}{self._suffix}", int(counts[lane])
            rows[lane_of == lane] = read + draws.permutation(self._seed, key, epoch, count)
            read += count
            low, high = first + int(runs[lane]), first + int(runs[lane + 1])
            # Ranges of adjacent lanes are merged into one read.
            if spans and spans[-1][1] == low:
                low = spans.pop()[0]
            spans.append((low, high))
        places = tuple(place for span in spans for place in self._places(*span))
        return Window(start, start + size, places, samples[mine], rows[mine])

    def _enter(self, epoch: int) -> None:
        if epoch == self._epoch:
            return
        stream = f"row groups{self._suffix}"
        self._line = draws.permutation(self._seed, stream, epoch, len(self._groups))
        self._starts = np.concatenate([[0], np.cumsum(self._groups[self._line])])
        self._epoch = epoch

    def _places(self, low: int, high: int) -> tuple[tuple[int, int, int], ...]:
        """The rows ``low`` to ``high - 1`` of the epoch's sequence, as ranges of row groups."""
        found = []
        at = int(np.searchsorted(self._starts, low, "right")) - 1
        while low < high:
            begin, end = int(self._starts[at]), int(self._starts[at + 1])
            if end > low:
                stop = min(high, end)
                found.append((int(self._line[at]), low - begin, stop - begin))
                low = stop
            at += 1
        return tuple(found)
