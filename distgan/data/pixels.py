"""Turns rows of Parquet into pixels: decodes, checks, and replaces damaged images."""

from __future__ import annotations

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
    bool (n,): true where a damaged image was replaced by another one.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    replaced: NDArray[np.bool_]


def decode(
    table: pa.Table,
    rows: slice,
    shape: ImageShape,
    classes: int,
    *,
    source: str,
    first_row: int = 0,
    replace: bool = False,
) -> Pixels:
    """Turn rows of the columns ``image`` and ``label`` into pixels.

    Raw pixels in a single chunk are not copied.

    Args:
        table: a whole row group, so that a damaged row can be replaced by another one.
        rows: which of its rows are wanted.
        shape: required of every image.
        classes: labels must be in [0, classes).
        source: the file, and ``first_row`` the table's first row in it, for errors.
        replace: replace a damaged row by the next undamaged row of the table.

    Raises:
        UserError: for a damaged row, or with ``replace`` for a table without an undamaged one.
    """
    if rows.start == rows.stop:
        return _nothing(shape, "label" in table.column_names)
    column, labels = columns.plain(table.column("image")), None
    if "label" in table.column_names:
        labels = _labels(table.column("label"), source)
    if pa.types.is_fixed_size_binary(column.type):
        size = shape.height * shape.width * shape.channels
        chunks = [_view(chunk, size) for chunk in column.chunks]
        images = (chunks[0] if len(chunks) == 1 else np.concatenate(chunks))[rows]
        bad = _bad_labels(labels, rows, classes)
        if column.null_count:
            missing = np.flatnonzero(column.is_null().to_numpy()[rows])
            bad |= {rows.start + int(row): "is missing (null)" for row in missing}
    else:
        images, bad = _decode_rows(column, labels, rows, shape, classes)
    replaced = np.zeros(len(images), np.bool_)
    labels = None if labels is None else labels[rows]
    images = images.reshape(-1, shape.height, shape.width, shape.channels)
    if bad:
        row, reason = next(iter(bad.items()))
        if not replace:
            raise UserError(
                f"--data {source}, row {first_row + row}: {reason}; "
                "mend or remove that row, or pass over a few with --skip-bad N"
            )
        images, labels = _stand_in(table, images, labels, rows, bad, shape, classes, source)
        replaced[[row - rows.start for row in bad]] = True
    return Pixels(images, labels, replaced)


def join(parts: list[Pixels]) -> Pixels:
    """Concatenate several `Pixels` in order; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return Pixels(
        np.concatenate([part.images for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.replaced for part in parts]),
    )


def _nothing(shape: ImageShape, labelled: bool) -> Pixels:
    images = np.empty((0, shape.height, shape.width, shape.channels), np.uint8)
    return Pixels(images, np.empty(0, np.int64) if labelled else None, np.empty(0, np.bool_))


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
    return {rows.start + int(row): _bad_label(wanted[row], classes) for row in wrong}


def _bad_label(label: int, classes: int) -> str:
    return f"label {label} is not one of the {classes} classes"


def _decode_rows(
    column: pa.ChunkedArray,
    labels: NDArray[np.int64] | None,
    rows: slice,
    shape: ImageShape,
    classes: int,
) -> tuple[NDArray[np.uint8], dict[int, str]]:
    images = np.zeros((rows.stop - rows.start, *_array_shape(shape)), np.uint8)
    bad = _bad_labels(labels, rows, classes)
    contents = columns.cells(column.slice(rows.start, rows.stop - rows.start))
    for number, content in enumerate(contents):
        row = rows.start + number
        if row in bad:
            continue
        try:
            images[number] = _decode_one(content, shape)
        except BadImageError as damage:
            bad[row] = str(damage)
    return images, dict(sorted(bad.items()))


def _decode_one(content: bytes | None, shape: ImageShape) -> NDArray[np.uint8]:
    if content is None:
        raise BadImageError("is missing (null)")
    image = decoder.decode(content, shape=shape).image
    pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, -1)
    if pixels.shape != _array_shape(shape):
        raise BadImageError(f"a damaged image (its header promises {shape})")
    return pixels


def _labels(column: pa.ChunkedArray, source: str) -> NDArray[np.int64]:
    try:
        return columns.whole_numbers(column)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(
            f"--data {source}: column 'label' cannot be read as whole numbers "
            f"({first_line(error)}); make the set again with `distgan data prepare`"
        ) from None


def _array_shape(shape: ImageShape) -> tuple[int, int, int]:
    return shape.height, shape.width, shape.channels


def _stand_in(
    table: pa.Table,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    rows: slice,
    bad: dict[int, str],
    shape: ImageShape,
    classes: int,
    source: str,
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Copies in which each damaged row is replaced by the next undamaged row of the table."""
    images = images.copy()
    labels = None if labels is None else labels.copy()
    tried: dict[int, Pixels | None] = dict.fromkeys(bad)

    def whole(row: int) -> Pixels | None:
        if row not in tried:
            try:
                one = table.slice(row, 1)
                tried[row] = decode(one, slice(0, 1), shape, classes, source=source)
            except UserError:
                tried[row] = None
        return tried[row]

    # From the last row to the first, so that the replacement of a row is also that of a damaged
    # row before it.
    stands: dict[int, Pixels] = {}
    for row in sorted(bad, reverse=True):
        after = ((row + step) % len(table) for step in range(1, len(table)))
        found = next((f for o in after if (f := stands.get(o) or whole(o)) is not None), None)
        if found is None:
            raise UserError(f"--data {source}: a row group without one whole image; replace it")
        stands[row] = found
        images[row - rows.start] = found.images[0]
        if labels is not None and found.labels is not None:
            labels[row - rows.start] = found.labels[0]
    return images, labels
