"""Makes one shard of a set of clips: reads from the source, transforms frames, writes Parquet.

A shard does not depend on the process that makes it, so any number of processes makes a set of
the same bytes.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distgan.config.clip import Clips
from distgan.config.shape import ImageShape
from distgan.data.clips.base import ClipItem, ClipSource
from distgan.data.clips.lengths import USUAL_FPS, Lengths
from distgan.data.clips.schema import FRAMES, clip_schema
from distgan.data.decoder import BadImageError, Decoded
from distgan.data.prepare_settings import PrepareSettings
from distgan.data.shards import (
    GROUP_BYTES,
    WRITING,
    Form,
    Job,
    Made,
    check_label,
    column,
    fitting,
    keep,
    stored,
    too_many,
)
from distgan.data.sources import ImageData
from distgan.data.sources.base import Unreadable
from distgan.data.work import Report, remarks
from distgan.errors import UserError, printable

_FEWEST, _MOST_BYTES = 8, 1 << 25
"""Clips of a row group, however large, unless they have so many bytes of pixels: groups are
shuffled, and read as a whole."""
_LARGEST = 1 << 30
"""Bytes of pixels of one clip, which is held in memory, and by Arrow with 32-bit offsets."""
_LOOKED_AT = 16
"""Clips of which the usual length is taken, evenly spaced."""


@dataclass
class MadeClips(Made):
    """The result of making a shard of clips."""

    lengths: list[int] = field(default_factory=list)
    """Frames of every clip."""
    short: int = 0
    """Clips of the source of which nothing was long enough."""
    rest: int = 0
    """Frames behind the last clip that was cut of one of the source, too few for another."""
    rateless: int = 0
    """Clips whose source does not say their frames a second."""

    def add(self, sums: NDArray[np.int64], length: int, label: int | None) -> None:
        """Count a clip: the sum of its pixels of each channel, its frames and its class."""
        self.count += 1
        self.sums += sums
        self.lengths.append(length)
        if label is not None and len(self.class_counts):
            self.class_counts[label] += 1


@dataclass(frozen=True)
class ClipWork:
    """A set of clips, of whose source an item becomes a row, or several where it is cut.

    ``taken`` are the frames that are taken of an item of the source, and ``length`` those of a
    row: the means over some.
    """

    source: ClipSource
    form: Form
    lengths: Lengths
    store: str
    skip_bad: int
    taken: float
    length: float
    rows = "clips"

    @staticmethod
    def of(source: ClipSource, numbers: NDArray[np.int64], options: PrepareSettings) -> ClipWork:
        """Shape and rate are those of the first undamaged of these clips that is long enough.

        Raises:
            UserError: when more clips before it are damaged than may be left out, or none is long
                enough.
        """
        transform, _ = options.transforms
        bad: list[str] = []
        longest = 0
        for item in source.read(numbers):
            try:
                lengths = _lengths(options, item.fps)
                check_label(item.label, len(source.classes))
                pieces = _pieces(item, lengths)
                longest = max(longest, len(item.frames))
                if not pieces:
                    continue
                form = Form.of(item.frames[int(pieces[0][0])], transform, noun="frame")
            except BadImageError as error:
                bad.append(printable(f"{item.where}: {error}"))
                if len(bad) > options.skip_bad:
                    raise UserError(too_many(bad, options.skip_bad, "clips")) from None
                continue
            taken, length = _usual(source, numbers, lengths)
            return ClipWork(source, form, lengths, options.store, options.skip_bad, taken, length)
        if longest:
            raise UserError(_too_short(options, longest))
        raise UserError(f"{bad[-1]}; and none of {len(numbers)} clips is whole")

    @property
    def kind(self) -> str:
        """The source's kind."""
        return self.source.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the labels."""
        return self.source.classes

    @property
    def shape(self) -> ImageShape:
        """That of every frame."""
        return self.form.shape

    @property
    def pair(self) -> None:
        """None: clips have no pairs."""

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard."""
        return clip_schema(self.shape, encoded=self.store != "raw", labels=bool(self.classes))

    def items(self, size: int) -> int:
        """Clips of the source for a shard; whole row groups where clips are of one length."""
        count = max(1, int(size / (self.taken * self._frame_bytes)))
        if self.taken != self.length:
            return count
        each = math.ceil(self.length * self._frame_bytes)
        group = next(n for n in range(1, GROUP_BYTES + 1) if _is_full(n, n * each))
        return max(1, count // group) * group

    def make(self, job: Job, report: Report = lambda done: None) -> MadeClips:
        """Make one shard and write it; a shard without a clip is not written.

        Row groups are closed by their bytes of pixels, so that few clips are in memory at a time.

        Raises:
            UserError: for the first bad clip beyond ``skip_bad``, naming it; when another process
                makes the set by now.
        """
        made = MadeClips(
            sums=np.zeros(self.shape.channels, np.int64),
            class_counts=np.zeros(len(self.classes), np.int64),
        )
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, self.schema, **WRITING) as writer:
            held: list[_Row] = []
            for item in self.source.read(job.numbers):
                for row in self._rows(item, made):
                    held.append(row)
                    frames = sum(len(each.frames) for each in held)
                    if _is_full(len(held), frames * self._frame_bytes):
                        writer.write_table(self._table(held), row_group_size=len(held))
                        held = []
                report(1)
            if held:
                writer.write_table(self._table(held), row_group_size=len(held))
        keep(job, made, sink.getvalue())
        return made

    def remarks(self, made: Sequence[Made]) -> Iterator[str]:
        """About clips that were too short, rates that are not known, and 16-bit frames."""
        yield from remarks(made)
        if rateless := sum(one.rateless for one in _of_clips(made)):
            yield (
                f"{rateless:,} clips do not say how many frames a second they are shown at; "
                f"{self.lengths.fps:g} is written down (--fps F for another)"
            )
        if short := sum(one.short for one in _of_clips(made)):
            yield (
                f"left out: {short:,} clips of fewer than {self.lengths.shortest} frames (--short "
                "loop repeats those of two or more)"
            )
        if rest := sum(one.rest for one in _of_clips(made)):
            yield (
                f"left out: {rest:,} frames at the ends of clips that were cut, fewer than "
                f"{self.lengths.shortest} each (--frames N makes clips of N or more)"
            )

    def images(self, made: Sequence[Made]) -> int:
        """Frames in these shards."""
        return sum(sum(one.lengths) for one in _of_clips(made))

    def clips(self, made: Sequence[Made]) -> Clips:
        """Lengths of the clips in these shards."""
        found = [length for one in _of_clips(made) for length in one.lengths]
        return Clips(min(found), max(found), sum(found), self.lengths.fps)

    def told(self, made: Sequence[Made]) -> dict[str, Any]:
        """How many clips were too short."""
        short = sum(one.short for one in _of_clips(made))
        return {"too_short": short} if short else {}

    @property
    def _frame_bytes(self) -> int:
        return math.prod(self.shape)

    def _rows(self, item: ClipItem, made: MadeClips) -> Iterator[_Row]:
        """The rows that are made of a clip of the source, up to what is damaged of it."""
        try:
            check_label(item.label, len(self.classes))
            pieces = _pieces(item, self.lengths)
            for piece in pieces:
                self._refuse_large(piece)
                heard: list[Decoded] = []
                row = self._row(item, piece, heard.append)
                for decoded in heard:
                    made.hear(decoded)
                made.add(row.sums, len(piece), row.label)
                yield row
        except BadImageError as error:
            made.bad.append(printable(f"{item.where}: {error}"))
            if len(made.bad) > self.skip_bad:
                raise UserError(too_many(made.bad, self.skip_bad, "clips")) from None
            return
        made.short += not pieces
        if pieces:
            whole = self.lengths.taken(len(item.frames), item.fps)
            made.rest += len(whole) - len(np.unique(np.concatenate(pieces)))
        made.rateless += item.fps is None and not self.lengths.resample

    def _row(
        self, item: ClipItem, piece: NDArray[np.int64], hear: Callable[[Decoded], object]
    ) -> _Row:
        frames: list[ImageData] = []
        sums = np.zeros(self.shape.channels, np.int64)
        for number in piece.tolist():
            try:
                image = item.frames[number]
                pixels = fitting(image, self.form, hear)
                frames.append(stored(image, pixels, self.store))
            except BadImageError as error:
                raise BadImageError(f"frame {number} {_joined(str(error))}") from None
            sums += pixels.sum(axis=(0, 1), dtype=np.int64)
        return _Row(frames, item.label, sums)

    def _refuse_large(self, piece: NDArray[np.int64]) -> None:
        if len(piece) * self._frame_bytes > _LARGEST:
            raise BadImageError(
                f"{len(piece):,} frames of {self.shape} are more than {_LARGEST >> 30} GiB, too "
                "large for one clip (give --cut N to make shorter ones of it)"
            )

    def _table(self, rows: list[_Row]) -> pa.Table:
        ends = np.cumsum([0, *(len(row.frames) for row in rows)], dtype=np.int32)
        frames = column([each for row in rows for each in row.frames], self.shape, self.store)
        kind = self.schema.field(FRAMES).type
        columns = {FRAMES: pa.ListArray.from_arrays(pa.array(ends), frames, type=kind)}
        if self.classes:
            columns["label"] = pa.array([row.label for row in rows], pa.int32())
        return pa.table(columns, schema=self.schema)


@dataclass(frozen=True)
class _Row:
    """A clip of the set: its stored frames, and the sum of all pixels of each channel."""

    frames: list[ImageData]
    label: int | None
    sums: NDArray[np.int64]


def _is_full(clips: int, size: int) -> bool:
    """Whether a row group of so many bytes of pixels takes no more."""
    return (size >= GROUP_BYTES and clips >= _FEWEST) or size >= _MOST_BYTES


def _lengths(options: PrepareSettings, fps: float | None) -> Lengths:
    return Lengths(
        options.frames,
        options.short or "drop",
        options.cut,
        options.fps or fps or USUAL_FPS,
        options.fps is not None,
    )


def _pieces(item: ClipItem, lengths: Lengths) -> list[NDArray[np.int64]]:
    """Frames of the clips that are made of one of the source.

    Raises:
        BadImageError: when it cannot be read, or has no rate or length to be made one.
    """
    if len(item.frames) == 1 and isinstance(item.frames[0], Unreadable):
        raise BadImageError(item.frames[0].reason)
    return lengths.pieces(len(item.frames), item.fps)


def _usual(source: ClipSource, numbers: NDArray[np.int64], lengths: Lengths) -> tuple[float, float]:
    """Frames that are taken of a clip of the source, and those of a clip of the set, about."""
    some = np.unique(np.linspace(0, len(numbers) - 1, _LOOKED_AT).astype(np.int64))
    taken, rows, items = 0, 0, 0
    for item in source.read(numbers[some]):
        # Bad ones are reported when they are made.
        with contextlib.suppress(BadImageError):
            found = [len(piece) for piece in _pieces(item, lengths)]
            taken, rows, items = taken + sum(found), rows + len(found), items + bool(found)
    if not rows:
        return float(lengths.shortest), float(lengths.shortest)
    return taken / items, taken / rows


def _joined(reason: str) -> str:
    """A reason behind the number of a frame: sentences without a verb are set off."""
    return reason if reason.startswith(("is ", "has ")) else f"({reason})"


def _of_clips(made: Sequence[Made]) -> list[MadeClips]:
    return [one for one in made if isinstance(one, MadeClips)]


def _too_short(options: PrepareSettings, longest: int) -> str:
    name = "--frames" if options.frames is not None else "--cut"
    return (
        f"{name} {options.frames or options.cut}: the longest clip has {longest} frames; take "
        "fewer, or repeat short clips with --short loop"
    )
