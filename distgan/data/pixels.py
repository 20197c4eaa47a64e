"""Turns rows of Parquet into pixels: decodes, checks, and replaces damaged images."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from distgan.config.shape import ImageShape
from distgan.data import columns, decoder
from distgan.data.decoder import BadImageError
from distgan.errors import UserError, first_line


@dataclass(frozen=True)
class Pixels:
    """Decoded images in memory.

    ``images`` is uint8 (n, h, w, c) and ``labels`` int64 (n,) or None. ``replaced`` is
    bool (n,): true where a damaged row was replaced by another one. ``pairs`` is uint8
    (n, h, w, c) of a shape of its own, or None where pairs were not asked for. Of clips ``images``
    are frames, uint8 (n, frames, h, w, c), and ``times`` are which ones of their clip, int64
    (n, frames).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    replaced: NDArray[np.bool_]
    pairs: NDArray[np.uint8] | None = None
    times: NDArray[np.int64] | None = None

    def take(self, rows: slice | NDArray[np.int64]) -> Pixels:
        """Some of the images; a slice of them shares their memory."""
        return Pixels(
            self.images[rows],
            None if self.labels is None else self.labels[rows],
            self.replaced[rows],
            None if self.pairs is None else self.pairs[rows],
            None if self.times is None else self.times[rows],
        )


def decode(
    table: pa.Table,
    rows: slice,
    shape: ImageShape,
    classes: int,
    *,
    pair: ImageShape | None = None,
    source: str,
    first_row: int = 0,
    replace: bool = False,
) -> Pixels:
    """Turn rows of the columns ``image``, ``label`` and ``pair`` into pixels.

    Raw pixels in a single chunk are not copied.

    Args:
        table: a whole row group, so that a damaged row can be replaced by another one.
        rows: which of its rows are wanted.
        shape: required of every image.
        classes: labels must be in [0, classes).
        pair: required of every pair; None leaves the column ``pair`` alone.
        source: the file, and ``first_row`` the table's first row in it, for errors.
        replace: replace a damaged row by the next undamaged row of the table.

    Raises:
        UserError: for a damaged row, or with ``replace`` for a table without an undamaged one.
    """
    if rows.start == rows.stop:
        return _nothing(shape, pair, "label" in table.column_names)
    labels = None
    if "label" in table.column_names:
        labels = labels_of(table.column("label"), source)
    bad = _bad_labels(labels, rows, classes)
    images = _read_images(table, "image", rows, shape, bad)
    pairs = None if pair is None else _read_images(table, "pair", rows, pair, bad)
    replaced = np.zeros(len(images), np.bool_)
    found = Pixels(images, None if labels is None else labels[rows], replaced, pairs)
    if not bad:
        return found
    row = min(bad)
    if not replace:
        raise bad_row(source, first_row + row, bad[row])

    def whole(row: int) -> Pixels | None:
        one = table.slice(row, 1)
        try:
            return decode(one, slice(0, 1), shape, classes, pair=pair, source=source)
        except UserError:
            return None

    return _stand_in(found, rows, sorted(bad), len(table), whole, source)


def join(parts: list[Pixels]) -> Pixels:
    """Concatenate several `Pixels` in order; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    pairs = [part.pairs for part in parts if part.pairs is not None]
    times = [part.times for part in parts if part.times is not None]
    return Pixels(
        np.concatenate([part.images for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.replaced for part in parts]),
        np.concatenate(pairs) if pairs else None,
        np.concatenate(times) if times else None,
    )


def bad_row(source: str, row: int, reason: object) -> UserError:
    """What to raise for a damaged row."""
    return UserError(
        f"--data {source}, row {row}: {reason}; "
        "mend or remove that row, or pass over a few with --skip-bad N"
    )


def _nothing(shape: ImageShape, pair: ImageShape | None, labelled: bool) -> Pixels:
    return Pixels(
        np.empty((0, *array_shape(shape)), np.uint8),
        np.empty(0, np.int64) if labelled else None,
        np.empty(0, np.bool_),
        None if pair is None else np.empty((0, *array_shape(pair)), np.uint8),
    )


def _read_images(
    table: pa.Table, name: str, rows: slice, shape: ImageShape, bad: dict[int, str]
) -> NDArray[np.uint8]:
    """The images of a column, uint8 (n, h, w, c); adds the reasons of damaged ones to ``bad``."""
    column = columns.plain(table.column(name))
    what = "" if name == "image" else f"its {name}: "
    raw = raw_rows(column, shape)
    if raw is None:
        return _decode_rows(column, what, rows, shape, bad)
    if column.null_count:
        missing = np.flatnonzero(column.is_null().to_numpy()[rows])
        bad |= {rows.start + int(row): f"{what}is missing (null)" for row in missing}
    return raw[rows]


def raw_rows(column: pa.ChunkedArray, shape: ImageShape) -> NDArray[np.uint8] | None:
    """Raw pixels of a column, uint8 (n, h, w, c), of a single chunk without a copy; None of
    encoded images."""
    if not pa.types.is_fixed_size_binary(column.type):
        return None
    chunks = [_view(chunk, math.prod(shape)) for chunk in column.chunks]
    images = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
    return images.reshape(-1, *array_shape(shape))


def _view(chunk: pa.Array, size: int) -> NDArray[np.uint8]:
    if len(chunk) == 0:
        return np.empty((0, size), np.uint8)
    pixels = np.frombuffer(chunk.buffers()[1], np.uint8)
    return pixels[chunk.offset * size : (chunk.offset + len(chunk)) * size].reshape(-1, size)


def _bad_labels(labels: NDArray[np.int64] | None, rows: slice, classes: int) -> dict[int, str]:
    if labels is None:
        return {}
    wanted = labels[rows]
    wrong = np.flatnonzero((wanted < 0) | (wanted >= classes))
    return {rows.start + int(row): bad_label(wanted[row], classes) for row in wrong}


def bad_label(label: int, classes: int) -> str:
    """Why a label is refused."""
    return f"label {label} is not one of the {classes} classes"


def _decode_rows(
    column: pa.ChunkedArray, what: str, rows: slice, shape: ImageShape, bad: dict[int, str]
) -> NDArray[np.uint8]:
    images = np.zeros((rows.stop - rows.start, *array_shape(shape)), np.uint8)
    contents = columns.cells(column.slice(rows.start, rows.stop - rows.start))
    for number, content in enumerate(contents):
        row = rows.start + number
        if row in bad:
            continue
        try:
            images[number] = decode_one(content, shape)
        except BadImageError as damage:
            bad[row] = f"{what}{damage}"
    return images


def decode_one(content: bytes | None, shape: ImageShape) -> NDArray[np.uint8]:
    """The pixels of an encoded image: uint8 (h, w, c).

    Raises:
        BadImageError: for a missing or damaged one, or one of another shape.
    """
    if content is None:
        raise BadImageError("is missing (null)")
    image = decoder.decode(content, shape=shape).image
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
    if pixels.shape != array_shape(shape):
        raise BadImageError(f"a damaged image (its header promises {shape})")
    return pixels


def labels_of(column: pa.ChunkedArray, source: str) -> NDArray[np.int64]:
    """Labels as int64 (n,), with -1 for missing ones.

    Raises:
        UserError: naming the file for what are no whole numbers.
    """
    try:
        return columns.whole_numbers(column)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(
            f"--data {source}: column 'label' cannot be read as whole numbers "
            f"({first_line(error)}); make the set again with `distgan data prepare`"
        ) from None


def array_shape(shape: ImageShape) -> tuple[int, int, int]:
    """Height, width and channels."""
    return shape.height, shape.width, shape.channels


def _stand_in(
    found: Pixels,
    rows: slice,
    bad: list[int],
    count: int,
    whole: Callable[[int], Pixels | None],
    source: str,
) -> Pixels:
    """A copy in which each damaged row is replaced by the next undamaged row of the table.

    Args:
        found: the wanted ``rows`` of a table of ``count``.
        bad: numbers of the damaged ones in the table, ascending.
        whole: decodes one row of the table; None for a damaged one.
    """
    labels = None if found.labels is None else found.labels.copy()
    pairs = None if found.pairs is None else found.pairs.copy()
    made = Pixels(found.images.copy(), labels, found.replaced.copy(), pairs)
    tried: dict[int, Pixels | None] = dict.fromkeys(bad)

    def once(row: int) -> Pixels | None:
        if row not in tried:
            tried[row] = whole(row)
        return tried[row]

    # From the last row to the first, so that the replacement of a row is also that of a damaged
    # row before it.
    stands: dict[int, Pixels] = {}
    for row in reversed(bad):
        after = ((row + step) % count for step in range(1, count))
        stand = next((f for o in after if (f := stands.get(o) or once(o)) is not None), None)
        if stand is None:
            raise UserError(f"--data {source}: a row group without one whole image; replace it")
        stands[row] = stand
        at = row - rows.start
        made.images[at], made.replaced[at] = stand.images[0], True
        if made.labels is not None and stand.labels is not None:
            made.labels[at] = stand.labels[0]
        if made.pairs is not None and stand.pairs is not None:
            made.pairs[at] = stand.pairs[0]
    return made
