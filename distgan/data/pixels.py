"""From rows of Parquet to pixels: decoding, checking, and passing over what is damaged."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from distgan.data.shape import ImageShape
from distgan.errors import UserError


@dataclass(frozen=True)
class Pixels:
    """Decoded images in memory.

    ``images`` is uint8 (n, h, w, c) and ``labels`` int64 (n,) or None. ``replaced`` is
    bool (n,): true where a damaged image's place was given to another.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    replaced: NDArray[np.bool_]


class DamagedRowError(Exception):
    """One row that cannot be used: ``str`` says why."""


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

    Raw pixels of a single chunk are viewed, not copied.

    Args:
        table: a whole row group, so that a damaged row finds another to stand in.
        rows: which of its rows are wanted.
        shape: what every image has to have.
        classes: labels lie in [0, classes).
        source: the file, and ``first_row`` the table's first row in it: named in errors.
        replace: give a damaged row's place to the next whole row of the table.

    Raises:
        UserError: for a damaged row, or with ``replace`` a table without a whole one.
    """
    if rows.start == rows.stop:
        return _nothing(shape, "label" in table.column_names)
    column, labels = table.column("image"), None
    if "label" in table.column_names:
        labels = table.column("label").fill_null(-1).to_numpy().astype(np.int64)
    if pa.types.is_fixed_size_binary(column.type):
        size = shape.height * shape.width * shape.channels
        chunks = [_view(chunk, size) for chunk in column.chunks]
        images = (chunks[0] if len(chunks) == 1 else np.concatenate(chunks))[rows]
        bad = _bad_labels(labels, rows, classes)
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
    """One `Pixels` of several, in order; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return Pixels(
        np.concatenate([part.images for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate([part.replaced for part in parts]),
    )


def open_image(value: Any) -> Image.Image:
    """The image of a cell, not yet decoded: L or RGB.

    Args:
        value: encoded bytes, or Hugging Face's ``{bytes, path}``.

    Raises:
        DamagedRowError: when it is no image, or so large that it may be a decompression bomb.
    """
    content = value["bytes"] if isinstance(value, dict) else value
    try:
        image = Image.open(io.BytesIO(content))
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0):
            raise Image.DecompressionBombError
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    except Image.DecompressionBombError:
        raise DamagedRowError(f"an image of more than {Image.MAX_IMAGE_PIXELS:,} pixels") from None
    except (UnidentifiedImageError, OSError, SyntaxError, TypeError, ValueError):
        raise DamagedRowError("not an image") from None


def times(shape: ImageShape) -> str:
    """A shape as people write it: height x width x channels."""
    return f"{shape.height}x{shape.width}x{shape.channels}"


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
    for number, row in enumerate(range(rows.start, rows.stop)):
        if row in bad:
            continue
        try:
            images[number] = _decode_one(column[row].as_py(), shape)
        except DamagedRowError as damage:
            bad[row] = str(damage)
    return images, dict(sorted(bad.items()))


def _decode_one(value: Any, shape: ImageShape) -> NDArray[np.uint8]:
    image = open_image(value)
    # The header alone tells the size: nothing large is decoded in vain.
    found = ImageShape(len(image.getbands()), image.height, image.width)
    if found != shape:
        raise DamagedRowError(
            f"images of mixed shapes, {times(found)} here but {times(shape)} before; "
            "resize them with `distgan data prepare --size`"
        )
    try:
        return np.asarray(image).reshape(_array_shape(shape))
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedRowError(f"a damaged image ({error})") from None


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
    """Copies in which the next whole row of the table stands in for each damaged one."""
    images = images.copy()
    labels = None if labels is None else labels.copy()
    for row in bad:
        for step in range(1, len(table)):
            other = (row + step) % len(table)
            try:
                found = decode(table, slice(other, other + 1), shape, classes, source=source)
            except UserError:
                continue
            images[row - rows.start] = found.images[0]
            if labels is not None and found.labels is not None:
                labels[row - rows.start] = found.labels[0]
            break
        else:
            raise UserError(f"--data {source}: a row group without one whole image; replace it")
    return images, labels
