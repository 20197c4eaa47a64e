"""A set of images: where it lies, what it promises, and how its rows become pixels.

The package's format is Parquet: column ``image`` holds raw uint8 pixels, height x width x
channels, as fixed-size binary whose field metadata gives the shape; column ``label``, if
there, int32. Encoded images (PNG, JPEG, ...; also Hugging Face's ``{bytes, path}``) are
read too.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pyarrow import fs as pafs

from distgan.errors import UserError
from distgan.networks.base import ImageShape
from distgan.settings import nearest
from distgan.storage import Storage

SHAPE_KEY = b"distgan.shape"
MANIFEST = "manifest.json"

PACKAGED = {"mnist": Path(__file__).parent / "mnist"}
"""Sets that come with the package, by the name that ``--data`` takes."""


@dataclass(frozen=True)
class ImageSet:
    """A set of images on some filesystem, known from its manifest and Parquet footers.

    ``classes`` holds the names of the labels 0, 1, ...; empty without labels.
    ``encoded`` says that the rows hold PNG or the like rather than pixels.
    """

    uri: str
    files: tuple[str, ...]
    counts: tuple[int, ...]
    shape: ImageShape
    classes: tuple[str, ...]
    encoded: bool

    @property
    def count(self) -> int:
        """How many images."""
        return sum(self.counts)

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The filesystem that ``files`` are paths in."""
        return Storage(self.uri).filesystem


@dataclass(frozen=True)
class Pixels:
    """Decoded images in memory: ``images`` uint8 (n, h, w, c), ``labels`` int64 (n,) or None."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None


def open_images(data: str) -> ImageSet:
    """Find a set by the name of a packaged one, a path or a URI, reading only its footers.

    Raises:
        UserError: when it is missing, empty, truncated, or holds no images.
    """
    storage = Storage(str(PACKAGED.get(data, data)))
    try:
        there = storage.exists()
    except OSError as error:
        raise UserError(f"--data {data}: cannot be reached ({error})") from None
    if not there:
        known = ", ".join(PACKAGED)
        raise UserError(
            f"--data {data}: no such set, file or folder{nearest(data, list(PACKAGED))}; "
            f"give {known}, a Parquet file, or a folder made by `distgan data prepare`"
        )
    files = _parquet_files(storage)
    if not files:
        raise UserError(
            f"--data {data}: holds no .parquet file; make a set with `distgan data prepare`"
        )
    footers = [_footer(storage, file) for file in files]
    counts = tuple(metadata.num_rows for metadata, _ in footers)
    if sum(counts) == 0:
        raise UserError(f"--data {data}: holds no images (0 rows); make the set again")
    shapes = {
        file: _shape(storage, file, schema)
        for file, (_, schema) in zip(files, footers, strict=True)
    }
    first = shapes[files[0]]
    for file, shape in shapes.items():
        if shape != first:
            raise UserError(
                f"--data {data}: images of mixed shapes, {_times(first)} in {files[0]} but "
                f"{_times(shape)} in {file}; resize them to one shape"
            )
    schema = footers[0][1]
    encoded = not pa.types.is_fixed_size_binary(schema.field("image").type)
    classes = _classes(storage, files) if "label" in schema.names else ()
    return ImageSet(storage.uri, tuple(files), counts, first, classes, encoded)


def decode(table: pa.Table, shape: ImageShape, source: str) -> Pixels:
    """Turn rows of the columns ``image`` and ``label`` into pixels.

    Raw pixels of a single chunk are viewed, not copied.

    Args:
        shape: what every image has to have.
        source: named in errors.

    Raises:
        UserError: for a row that is no image or of another shape.
    """
    column = table.column("image")
    size = shape.height * shape.width * shape.channels
    if pa.types.is_fixed_size_binary(column.type):
        images = np.concatenate([_view(chunk, size) for chunk in column.chunks or [_NOTHING]])
    else:
        images = np.empty((len(column), size), np.uint8)
        for row, value in enumerate(column.to_pylist()):
            images[row] = _decode_one(value, shape, f"{source}, row {row}")
    labels = None
    if "label" in table.column_names:
        labels = table.column("label").to_numpy().astype(np.int64)
    return Pixels(images.reshape(-1, shape.height, shape.width, shape.channels), labels)


def read_resident(images: ImageSet) -> Pixels:
    """Read and decode a whole set into this process's memory, without Ray."""
    filesystem = images.filesystem
    columns = ["image", "label"] if images.classes else ["image"]
    parts = [
        decode(pq.read_table(file, columns=columns, filesystem=filesystem), images.shape, file)
        for file in images.files
    ]
    return join(parts)


def join(parts: list[Pixels]) -> Pixels:
    """One `Pixels` of several, in order; a single one is not copied."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    return Pixels(
        np.concatenate([part.images for part in parts]),
        np.concatenate(labels) if labels else None,
    )


def pixel_schema(
    shape: ImageShape,
    *,
    encoded: bool = False,
    labels: bool = True,
    captions: bool = False,
    pairs: bool = False,
) -> pa.Schema:
    """The Arrow schema of the package's format for images of ``shape``.

    Args:
        encoded: images are stored as PNG or the like rather than as pixels.
        labels: there is a column ``label``.
        captions: there is a column ``caption``, text or null.
        pairs: there is a column ``pair``, a second image of the same kind.
    """
    kind = pa.binary() if encoded else pa.binary(shape.height * shape.width * shape.channels)
    about = {SHAPE_KEY: f"{shape.height},{shape.width},{shape.channels}"}
    fields = [pa.field("image", kind, nullable=False, metadata=about)]
    if labels:
        fields.append(pa.field("label", pa.int32(), nullable=False))
    if captions:
        fields.append(pa.field("caption", pa.string()))
    if pairs:
        fields.append(pa.field("pair", kind, nullable=False, metadata=about))
    return pa.schema(fields)


_NOTHING = pa.array([], pa.binary(0))


def _parquet_files(storage: Storage) -> list[str]:
    if storage.filesystem.get_file_info(storage.path()).is_file:
        return [storage.path()]
    return [storage.path(name) for name in storage.names() if name.endswith(".parquet")]


def _footer(storage: Storage, file: str) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
            return parquet.metadata, parquet.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        reason = str(error).split(".", 1)[0].split("\n", 1)[0]
        raise UserError(
            f"--data {file}: not a whole Parquet file ({reason}); copy or make it again"
        ) from None


def _shape(storage: Storage, file: str, schema: pa.Schema) -> ImageShape:
    if "image" not in schema.names:
        raise UserError(
            f"--data {file}: has no column 'image' (columns: {', '.join(schema.names)}); "
            "make a set with `distgan data prepare`"
        )
    field = schema.field("image")
    if pa.types.is_fixed_size_binary(field.type) and SHAPE_KEY in (field.metadata or {}):
        height, width, channels = map(int, field.metadata[SHAPE_KEY].split(b","))
        return ImageShape(channels, height, width)
    if not (_is_bytes(field.type) or _is_hugging_face(field.type)):
        raise UserError(
            f"--data {file}: column 'image' holds {field.type}, not images; "
            "make a set with `distgan data prepare`"
        )
    with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
        for rows in parquet.iter_batches(1, columns=["image"]):
            image = _open_image(rows.column("image")[0].as_py(), f"{file}, row 0")
            return ImageShape(len(image.getbands()), image.height, image.width)
    return ImageShape(0, 0, 0)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_hugging_face(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _open_image(value: Any, where: str) -> Image.Image:
    content = value["bytes"] if isinstance(value, dict) else value
    try:
        image = Image.open(io.BytesIO(content))
        return image if image.mode in ("L", "RGB") else image.convert("RGB")
    except (UnidentifiedImageError, OSError, TypeError, Image.DecompressionBombError):
        raise UserError(f"--data {where}: not an image; remove or replace that row") from None


def _decode_one(value: Any, shape: ImageShape, where: str) -> NDArray[np.uint8]:
    image = _open_image(value, where)
    try:
        pixels = np.asarray(image)
    except OSError as error:
        raise UserError(f"--data {where}: a damaged image ({error}); replace that row") from None
    found = ImageShape(pixels.shape[2] if pixels.ndim == 3 else 1, *pixels.shape[:2])
    if found != shape:
        raise UserError(
            f"--data {where}: images of mixed shapes, {_times(found)} here but "
            f"{_times(shape)} before; resize them to one shape"
        )
    return pixels.reshape(-1)


def _view(chunk: pa.Array, size: int) -> NDArray[np.uint8]:
    if len(chunk) == 0:
        return np.empty((0, size), np.uint8)
    pixels = np.frombuffer(chunk.buffers()[1], np.uint8)
    return pixels[chunk.offset * size : (chunk.offset + len(chunk)) * size].reshape(-1, size)


def _classes(storage: Storage, files: list[str]) -> tuple[str, ...]:
    if storage.exists(MANIFEST):
        named = json.loads(storage.read_text(MANIFEST)).get("classes")
        if named:
            return tuple(named)
    highest = 0
    for file in files:
        labels = pq.read_table(file, columns=["label"], filesystem=storage.filesystem)["label"]
        highest = max(highest, int(max(labels.to_pylist(), default=0)))
    return tuple(str(label) for label in range(highest + 1))


def _times(shape: ImageShape) -> str:
    return f"{shape.height}x{shape.width}x{shape.channels}"
