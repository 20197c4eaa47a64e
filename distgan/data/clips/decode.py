"""Turns rows of the column of frames into pixels: of frames that are asked for, or of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distgan.config.clip import FrameRule
from distgan.data import columns
from distgan.data.clips.schema import FRAMES
from distgan.data.decoder import BadImageError
from distgan.data.images import ImageSet
from distgan.data.pixels import (
    Pixels,
    array_shape,
    bad_label,
    bad_row,
    decode_one,
    labels_of,
    raw_rows,
)
from distgan.errors import UserError


@dataclass(frozen=True)
class WholeClips:
    """Consecutive clips of a set with all of their frames, in memory.

    ``frames`` is uint8 (frames of all clips, h, w, c): those of each clip follow each other.
    ``lengths`` is how many each has there, int64 (n,): 0 for a damaged one. ``shown`` is which
    clip of the set stands for each, int64 (n,): itself, or for a damaged one another, whose label
    it has too. ``labels`` is int64 (n,) or None.
    """

    frames: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    shown: NDArray[np.int64]
    labels: NDArray[np.int64] | None


def decode_clips(
    table: pa.Table,
    rows: slice,
    images: ImageSet,
    rule: FrameRule,
    numbers: NDArray[np.float32],
    *,
    source: str,
    first_row: int = 0,
    replace: bool = False,
) -> Pixels:
    """Those frames of clips that a rule chooses by numbers of each; no others are decoded.

    Args:
        table: a whole row group, so that a damaged clip can be replaced by another one.
        rows: which of its rows are wanted.
        numbers: of each of these rows, (n, ``rule.numbers``). One that begins with 0, which no
            number of a sample is, is of a row that nobody asks for: its frames are black.
        source: the file, and ``first_row`` the table's first row in it, for errors.
        replace: replace a clip with a damaged frame among those asked for by the next one of the
            table that is whole, and choose that one's frames by the same numbers.

    Raises:
        UserError: for a damaged clip, or with ``replace`` for a table without a whole one.
    """
    group = _Group(table, images, source, first_row)
    lengths, asked = group.lengths[rows], numbers[:, 0] > 0
    times = np.zeros((len(numbers), rule.shown), np.int64)
    frames = np.zeros((*times.shape, *array_shape(images.shape)), np.uint8)
    shown = np.arange(rows.start, rows.stop)
    fit = asked & (lengths >= rule.shortest)
    times[fit] = rule.choose(lengths[fit], numbers[fit])
    damaged = []
    for at in np.flatnonzero(asked):
        try:
            frames[at] = group.read(int(shown[at]), times[at])
        except BadImageError as damage:
            if not replace:
                raise bad_row(source, first_row + int(shown[at]), damage) from None
            group.whole[int(shown[at])] = False
            damaged.append(at)
    for at in damaged:
        shown[at] = group.stand_in(int(shown[at]))
        times[at] = rule.choose(group.lengths[shown[[at]]], numbers[[at]])[0]
        frames[at] = group.read(int(shown[at]), times[at])
    labels = None if group.labels is None else group.labels[shown]
    replaced = shown != np.arange(rows.start, rows.stop)
    return Pixels(frames, labels, replaced, times=times)


def decode_whole(
    table: pa.Table,
    images: ImageSet,
    *,
    source: str,
    first_row: int,
    first_number: int,
    replace: bool,
) -> WholeClips:
    """All frames of a row group.

    Args:
        first_number: of the group's first clip in the set.
        source, first_row, replace: as of `decode_clips`.

    Raises:
        UserError: as `decode_clips`.
    """
    group = _Group(table, images, source, first_row)
    lengths, shown = group.lengths.copy(), np.arange(len(table))
    frames = np.empty((int(lengths.sum()), *array_shape(images.shape)), np.uint8)
    at = 0
    for row, length in enumerate(group.lengths.tolist()):
        try:
            frames[at : at + length] = group.read(row, np.arange(length))
        except BadImageError as damage:
            if not replace:
                raise bad_row(source, first_row + row, damage) from None
            length = lengths[row] = 0
        group.whole[row] = bool(length)
        at += length
    for row in np.flatnonzero(lengths == 0).tolist():
        shown[row] = group.stand_in(row)
    labels = None if group.labels is None else group.labels[shown]
    return WholeClips(frames[:at], lengths, first_number + shown, labels)


class _Group:
    """The clips of a row group, whose frames are decoded when they are asked for.

    ``whole`` remembers which rows are known to be undamaged, or known not to be.
    """

    def __init__(self, table: pa.Table, images: ImageSet, source: str, first_row: int) -> None:
        assert images.clips is not None
        self._images, self._clips = images, images.clips
        self._source, self._first_row = source, first_row
        lists = table.column(FRAMES).combine_chunks()
        offsets = lists.offsets.to_numpy().astype(np.int64)
        # A missing (null) list is one of no frames.
        self._starts, self.lengths = offsets[:-1], np.diff(offsets)
        self._cells = pa.chunked_array([lists.values])
        self._raw = raw_rows(self._cells, images.shape)
        self._missing = self._cells.is_null().to_numpy() if self._cells.null_count else None
        labelled = "label" in table.column_names
        self.labels = labels_of(table.column("label"), source) if labelled else None
        self.whole: dict[int, bool] = {}

    def read(self, row: int, which: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Some frames of a clip: uint8 (n, h, w, c).

        Raises:
            BadImageError: for a clip that is not as its set promises, or a damaged frame.
        """
        self._check(row)
        places = self._starts[row] + which
        if self._missing is not None and self._missing[places].any():
            frame = which[self._missing[places]].min()
            raise BadImageError(f"frame {frame} is missing (null)")
        if self._raw is not None:
            raw: NDArray[np.uint8] = self._raw[places]
            return raw
        # The same frame may be asked for twice.
        once, back = np.unique(places, return_inverse=True)
        frames = np.empty((len(once), *array_shape(self._images.shape)), np.uint8)
        cells = columns.cells(self._cells.take(pa.array(once)))
        for at, content in enumerate(cells):
            try:
                frames[at] = decode_one(content, self._images.shape)
            except BadImageError as damage:
                raise BadImageError(f"frame {once[at] - self._starts[row]}: {damage}") from None
        found: NDArray[np.uint8] = frames[back.reshape(-1)]
        return found

    def _check(self, row: int) -> None:
        length, (shortest, longest, *_) = int(self.lengths[row]), self._clips
        if not shortest <= length <= longest:
            raise BadImageError(
                f"a clip of {length} frames, where its manifest promises {shortest} to {longest}"
            )
        classes = len(self._images.classes)
        if self.labels is not None and not 0 <= self.labels[row] < classes:
            raise BadImageError(bad_label(int(self.labels[row]), classes))

    def stand_in(self, row: int) -> int:
        """The next row, from the first again after the last, whose frames are all whole.

        Raises:
            UserError: when there is none.
        """
        count = len(self.lengths)
        for step in range(1, count):
            if self._is_whole(other := (row + step) % count):
                return other
        raise UserError(f"--data {self._source}: a row group without one whole clip; replace it")

    def _is_whole(self, row: int) -> bool:
        if row not in self.whole:
            try:
                self.read(row, np.arange(self.lengths[row]))
                self.whole[row] = True
            except BadImageError:
                self.whole[row] = False
        return self.whole[row]
