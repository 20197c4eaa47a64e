"""Makes one shard of a set: reads from the source, transforms, writes Parquet.

A shard does not depend on the process that makes it, so any number of processes makes a set of
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from distgan.config.shape import ImageShape
from distgan.data.decoder import BadImageError, Decoded, is_plain
from distgan.data.images import pixel_schema
from distgan.data.sources import ImageData, Item, Source
from distgan.data.transform import Transform
from distgan.data.unfinished import UNFINISHED
from distgan.errors import UserError, printable
from distgan.storage.storage import Storage

GROUP_BYTES = 1 << 22
"""Bytes of pixels in a row group, about."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Form:
    """What all images of a column are made to be, and how."""

    shape: ImageShape
    transform: Transform
    pair: bool = False
    noun: str = "image"

    @staticmethod
    def of(image: ImageData, transform: Transform, pair: bool = False, noun: str = "image") -> Form:
        """The form of an image, which is that of all.

        Raises:
            BadImageError: when it is damaged.
        """
        form = Form(ImageShape(1, 1, 1), transform, pair, noun)
        height, width, channels = form.pixels(image).shape
        return replace(form, shape=ImageShape(channels, height, width))

    def pixels(
        self, image: ImageData, hear: Callable[[Decoded], object] = lambda decoded: None
    ) -> Pixels:
        """The image as stored, of whatever shape it has; see `Transform.pixels`.

        Raises:
            BadImageError: when it is damaged.
        """
        try:
            return self.transform.pixels(image, hear)
        except BadImageError as error:
            raise BadImageError(f"its pair: {error}" if self.pair else str(error)) from None


@dataclass(frozen=True)
class Layout:
    """Properties that all shards of a set share; ``pair`` is None without pairs."""

    image: Form
    pair: Form | None
    store: str
    classes: int
    captions: bool
    skip_bad: int

    @property
    def image_bytes(self) -> int:
        """Bytes of a decoded image, or of its pair where that is larger."""
        return max(math.prod(form.shape) for form in (self.image, self.pair) if form is not None)

    @property
    def rows_per_group(self) -> int:
        """Rows of a row group, the unit that is read and shuffled on its own.

        A power of two of about 4 MiB of pixels, from 64 to 4096.
        """
        rows = max(1, GROUP_BYTES // self.image_bytes)
        return int(min(4096, max(64, 1 << (rows.bit_length() - 1))))

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every shard."""
        return pixel_schema(
            self.image.shape,
            encoded=self.store != "raw",
            labels=self.classes > 0,
            captions=self.captions,
            pair=None if self.pair is None else self.pair.shape,
        )


@dataclass(frozen=True)
class Job:
    """One shard to make: which items of the source go into which file.

    ``folder`` is that of the set it belongs to, in ``out``. ``owner`` is who makes the set; see
    `distgan.storage.ownership`.
    """

    out: str
    owner: str | None
    folder: str
    name: str
    numbers: NDArray[np.int64]


@dataclass
class Made:
    """The result of making a shard: its file, and its contributions to the manifest."""

    count: int = 0
    bytes: int = 0
    sha256: str = ""
    sums: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    class_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    bad: list[str] = field(default_factory=list)
    darkest: int | None = None
    """Lowest and highest value of all 16-bit images; None without any."""
    brightest: int | None = None
    frames: int = 0
    """Number of files with several images, of which only the first was used."""

    def hear(self, decoded: Decoded) -> None:
        """Add the facts about a decoded image."""
        self.frames += decoded.frames
        if decoded.darkest is not None and decoded.brightest is not None:
            lowest = decoded.darkest if self.darkest is None else self.darkest
            self.darkest = min(decoded.darkest, lowest)
            self.brightest = max(decoded.brightest, self.brightest or 0)


def make_shard(
    job: Job, source: Source, layout: Layout, report: Callable[[int], None] = lambda done: None
) -> Made:
    """Make one shard and write it; a shard without an undamaged image is not written.

    Args:
        report: called with the number of images processed since the last call.

    Raises:
        UserError: for the first bad image beyond ``layout.skip_bad``, naming it; when another
            process makes the set by now.
    """
    made = Made(
        sums=np.zeros(layout.image.shape.channels, np.int64),
        class_counts=np.zeros(layout.classes, np.int64),
    )
    sink = io.BytesIO()
    rows = layout.rows_per_group
    with pq.ParquetWriter(sink, layout.schema, **WRITING) as writer:
        held: list[_Row] = []
        for start in range(0, len(job.numbers), rows):
            numbers = job.numbers[start : start + rows]
            held += _good(source.read(numbers), layout, made)
            while len(held) >= rows or (held and start + rows >= len(job.numbers)):
                writer.write_table(_table(held[:rows], layout), row_group_size=rows)
                _sum_up(held[:rows], made)
                held = held[rows:]
            report(len(numbers))
    keep(job, made, sink.getvalue())
    return made


def keep(job: Job, made: Made, content: bytes) -> None:
    """Write a shard, if it has rows, and note its size and checksum.

    Raises:
        UserError: when another process makes the set by now.
    """
    if made.count:
        storage = Storage(job.out)
        if job.owner is not None:
            storage = storage.owned_by(job.owner, UNFINISHED)
        storage.write(job.name, content)
        made.bytes, made.sha256 = len(content), hashlib.sha256(content).hexdigest()


def check(item: Item, classes: int, pairs: bool) -> None:
    """Check that an item has a valid label and a pair, if the set has them.

    Raises:
        BadImageError: when it has not.
    """
    check_label(item.label, classes)
    if pairs and item.pair is None:
        raise BadImageError("has no paired image")


def check_label(label: int | None, classes: int) -> None:
    """Check that a label is one of the classes, if the set has some.

    Raises:
        BadImageError: when it is not.
    """
    if classes and label is None:
        raise BadImageError("has no label")
    if classes and not 0 <= (label or 0) < classes:
        raise BadImageError(f"label {label} is out of range; the classes are 0 to {classes - 1}")


WRITING: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 9,
    "use_dictionary": False,
    "write_statistics": False,
    "data_page_size": 1 << 22,
    "write_page_checksum": True,
}
"""How all shards are written; parameters of PyArrow's ParquetWriter."""


@dataclass(frozen=True)
class _Row:
    """An item and its stored bytes."""

    item: Item
    pixels: Pixels
    image: ImageData
    pair: ImageData | None


def _good(items: list[Item], layout: Layout, made: Made) -> list[_Row]:
    rows = []
    for item in items:
        try:
            check(item, layout.classes, layout.pair is not None)
            heard: list[Decoded] = []
            pixels = fitting(item.image, layout.image, heard.append)
            image = stored(item.image, pixels, layout.store)
            pair = None
            if layout.pair is not None and item.pair is not None:
                other = fitting(item.pair, layout.pair, heard.append)
                pair = stored(item.pair, other, layout.store)
        except BadImageError as error:
            made.bad.append(printable(f"{item.where}: {error}"))
            if len(made.bad) > layout.skip_bad:
                raise UserError(too_many(made.bad, layout.skip_bad)) from None
        else:
            for decoded in heard:
                made.hear(decoded)
            rows.append(_Row(item, pixels, image, pair))
    return rows


def too_many(bad: list[str], allowed: int, noun: str = "images") -> str:
    """The error message for more bad images than allowed."""
    if allowed == 0:
        return f"{bad[0]}; mend or remove it, or leave such {noun} out with --skip-bad N"
    return f"{bad[-1]}; and {len(bad) - 1} bad {noun} before it, more than --skip-bad {allowed}"


def fitting(image: ImageData, form: Form, hear: Callable[[Decoded], object]) -> Pixels:
    """The image as stored, of the shape of all.

    Raises:
        BadImageError: when it is damaged, or of another shape.
    """
    its, what, option = ("its pair ", "pair", "--pair-") if form.pair else ("", form.noun, "--")
    pixels = form.pixels(image, hear)
    height, width, channels = pixels.shape
    wanted = form.shape
    if (height, width) != (wanted.height, wanted.width):
        raise BadImageError(
            f"{its}is {height}x{width}, but the first {what} is {wanted.height}x{wanted.width} "
            f"(give {option}size to resize all)"
        )
    if channels != wanted.channels:
        here, first = ("gray", "colored") if channels == 1 else ("colored", "gray")
        raise BadImageError(
            f"{its}is {here}, but the first {what} is {first} (give {option}channels gray or rgb)"
        )
    return pixels


def stored(image: ImageData, pixels: Pixels, store: str) -> ImageData:
    """What is written of an image: its pixels, a PNG of them, or the source's own bytes."""
    if store == "raw":
        return pixels
    height, width, channels = pixels.shape
    shape = ImageShape(channels, height, width)
    if store == "original" and isinstance(image, bytes) and is_plain(image, shape):
        return image
    buffer = io.BytesIO()
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(plain)).save(buffer, "PNG")
    return buffer.getvalue()


def _table(rows: list[_Row], layout: Layout) -> pa.Table:
    columns = {"image": column([row.image for row in rows], layout.image.shape, layout.store)}
    if layout.classes:
        columns["label"] = pa.array([row.item.label for row in rows], pa.int32())
    if layout.captions:
        columns["caption"] = pa.array([row.item.caption for row in rows], pa.string())
    if layout.pair is not None:
        pairs = [row.pair for row in rows if row.pair is not None]
        columns["pair"] = column(pairs, layout.pair.shape, layout.store)
    return pa.table(columns, schema=layout.schema)


def column(images: Sequence[ImageData], shape: ImageShape, store: str) -> pa.Array:
    """Images of one shape, as they are `stored`, as an Arrow array."""
    if store != "raw":
        return pa.array(images, pa.binary())
    pixels = np.stack([np.asarray(image) for image in images])
    kind = pa.binary(math.prod(shape))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(pixels), [None, pa.py_buffer(pixels)])


def _sum_up(rows: list[_Row], made: Made) -> None:
    made.count += len(rows)
    pixels = np.stack([row.pixels for row in rows])
    # Integer sums, so that the mean does not depend on the order of summation.
    made.sums += pixels.sum(axis=(0, 1, 2), dtype=np.int64)
    labels = [row.item.label for row in rows if row.item.label is not None]
    if len(made.class_counts):
        made.class_counts += np.bincount(labels, minlength=len(made.class_counts))
