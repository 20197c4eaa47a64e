"""Resident mode of clips: all frames are in memory, and batches gather those that samples see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from distgan.data.clips.decode import WholeClips
from distgan.data.clips.view import View
from distgan.data.damage import Damage
from distgan.data.feed import Rows
from distgan.data.order import ShuffledOrder
from distgan.data.prefetch import PrefetchBuffer
from distgan.data.resident import BYTES_AT_ONCE, Matrix, borrow
from distgan.data.sides import Side
from distgan.parallel import World


class ResidentClips:
    """This rank's part of any global batch, from clips in memory.

    Args:
        clips: the whole set, in memory that the processes of a node may share.
        view: which frames a sample sees.
        batch: clips in a global batch.
        damage: counts damaged clips.
        side: which clips of the set, and in which order; None for all, in that of a run's set.

    Raises:
        UserError: for more damaged clips than are allowed.
    """

    def __init__(
        self,
        clips: WholeClips,
        view: View,
        batch: int,
        world: World,
        damage: Damage,
        side: Side | None = None,
    ) -> None:
        side = side or Side(range(len(clips.lengths)))
        mine = clips.shown[side.numbers.start : side.numbers.stop]
        starts = np.cumsum(clips.lengths) - clips.lengths
        # Of a damaged clip those of the one that stands for it.
        self._starts, self._lengths = starts[mine], clips.lengths[mine]
        labels = clips.labels
        own = slice(side.numbers.start, side.numbers.stop)
        self._labels = None if labels is None else borrow(labels[own])
        self._view, self._frames = view, Matrix(clips.frames)
        self._order = ShuffledOrder(view.seed, len(mine), side.suffix)
        size = view.rule.shown * self._frames.row
        # At most one epoch of a small set, as each epoch needs a permutation.
        at_once = min(BYTES_AT_ONCE, size * len(mine))
        self._ahead = PrefetchBuffer(self._gather, batch, world, size, at_once)
        damaged = np.flatnonzero(mine != np.arange(side.numbers.start, side.numbers.stop))
        damage.add(side.numbers.start + damaged, side.second)

    def batch(self, images_seen: int) -> Rows:
        """This rank's part of the global batch from sample ``images_seen``."""
        return self._ahead.batch(images_seen)

    def _gather(self, parts: Sequence[range]) -> list[Rows]:
        clips = np.concatenate([self._order.images(part.start, len(part)) for part in parts])
        times = self._view.rule.choose(self._lengths[clips], self._view.numbers(parts))
        places = torch.from_numpy((self._starts[clips, None] + times).reshape(-1))
        frames = self._frames.take(places).view(*times.shape, *self._frames.shape)
        labels: Sequence[Tensor | None] = [None] * len(parts)
        if self._labels is not None:
            labels = self._labels.index_select(0, torch.from_numpy(clips)).chunk(len(parts))
        seen = torch.from_numpy(times).chunk(len(parts))
        found = zip(frames.chunk(len(parts)), labels, seen, strict=True)
        return [Rows(images, its, times=when) for images, its, when in found]

    def close(self) -> None:
        """Does nothing: there is no background thread."""
