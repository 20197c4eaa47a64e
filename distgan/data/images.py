"""A set of images: where it lies, what it promises, and how its rows become pixels.

The package's format is Parquet: column ``image`` holds raw uint8 pixels, height x width x
channels, as fixed-size binary whose field metadata gives the shape; column ``label``, if
there, int32. Encoded images (PNG, JPEG, ...; also Hugging Face's ``{bytes, path}``) are
read too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from distgan.data import manifest
from distgan.data.manifest import Manifest
from distgan.data.pixels import DamagedRowError, open_image, times
from distgan.data.shape import ImageShape
from distgan.data.sources.base import numbered_classes
from distgan.data.sources.named import NAMED
from distgan.data.unfinished import UNFINISHED
from distgan.errors import UserError
from distgan.settings import nearest
from distgan.storage import Storage

SHAPE_KEY = b"distgan.shape"

PACKAGED = {"mnist": Path(__file__).parent / "mnist"}
"""Sets that come with the package, by the name that ``--data`` takes."""


@dataclass(frozen=True)
class ImageSet:
    """A set of images on some filesystem, known from its manifest and Parquet footers.

    Images are numbered 0, 1, ... through the files in their order.

    ``groups`` holds the rows of every row group of every file. ``classes`` holds the
    names of the labels 0, 1, ...; empty without labels. ``encoded`` says that the rows
    hold PNG or the like rather than pixels.
    """

    uri: str
    files: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    shape: ImageShape
    classes: tuple[str, ...]
    encoded: bool

    @property
    def count(self) -> int:
        """How many images."""
        return sum(map(sum, self.groups))

    @property
    def bytes(self) -> int:
        """Bytes of all images, decoded."""
        return self.count * self.image_bytes

    @property
    def image_bytes(self) -> int:
        """Bytes of one image, decoded."""
        return self.shape.height * self.shape.width * self.shape.channels

    def locate(self, number: int) -> str:
        """File and row of an image, as errors name it."""
        for file, groups in zip(self.files, self.groups, strict=True):
            if number < sum(groups):
                return f"{file}, row {number}"
            number -= sum(groups)
        raise IndexError(number)

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The filesystem that ``files`` are paths in."""
        return Storage(self.uri).filesystem


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
        if data in NAMED:
            raise UserError(
                f"--data {data}: is not here yet; make it with "
                f"`distgan data prepare {data} --out {data}`"
            )
        raise UserError(
            f"--data {data}: no such set, file or folder{nearest(data, list(PACKAGED))}; "
            f"give {known}, a Parquet file, or a folder made by `distgan data prepare`"
        )
    made = manifest.read(storage)
    if made is None and storage.exists(UNFINISHED):
        raise UserError(
            f"--data {data}: its preparation was stopped half-way; repeat `distgan data prepare`"
        )
    if made is not None:
        _check_shards(storage, data, made)
    files = _parquet_files(storage)
    if not files:
        raise UserError(
            f"--data {data}: holds no .parquet file; make a set with `distgan data prepare`"
        )
    footers = [_footer(storage, file) for file in files]
    groups = tuple(
        tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        for metadata, _ in footers
    )
    if sum(map(sum, groups)) == 0:
        raise UserError(f"--data {data}: holds no images (0 rows); make the set again")
    shapes = {
        file: _shape(storage, file, schema)
        for file, (_, schema) in zip(files, footers, strict=True)
    }
    first = shapes[files[0]]
    for file, shape in shapes.items():
        if shape != first:
            raise UserError(
                f"--data {data}: images of mixed shapes, {times(first)} in {files[0]} but "
                f"{times(shape)} in {file}; resize them to one shape"
            )
    schema = footers[0][1]
    encoded = not pa.types.is_fixed_size_binary(schema.field("image").type)
    classes = _classes(storage, files, made) if "label" in schema.names else ()
    return ImageSet(storage.uri, tuple(files), groups, first, classes, encoded)


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


def _parquet_files(storage: Storage) -> list[str]:
    if storage.filesystem.get_file_info(storage.path()).is_file:
        return [storage.path()]
    return [storage.path(name) for name in storage.names() if name.endswith(".parquet")]


def _check_shards(storage: Storage, data: str, made: Manifest) -> None:
    for shard in made.files:
        info = storage.filesystem.get_file_info(storage.path(shard.name))
        if not info.is_file:
            raise UserError(
                f"--data {data}: shard {shard.name} is missing; copy it again, or make the "
                "set again with `distgan data prepare`"
            )
        if info.size != shard.bytes:
            raise UserError(
                f"--data {data}: shard {shard.name} has {info.size:,} bytes, its manifest says "
                f"{shard.bytes:,}; copy it again"
            )


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
            try:
                image = open_image(rows.column("image")[0].as_py())
            except DamagedRowError as damage:
                raise UserError(f"--data {file}, row 0: {damage}; replace that row") from None
            return ImageShape(len(image.getbands()), image.height, image.width)
    return ImageShape(0, 0, 0)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_hugging_face(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _classes(storage: Storage, files: list[str], made: Manifest | None) -> tuple[str, ...]:
    if made is not None and made.classes:
        return made.classes
    highest = 0
    for file in files:
        with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
            found = parquet.read(columns=["label"])
        kind = found["label"].type if found.num_columns else pa.null()
        if not pa.types.is_integer(kind):
            raise UserError(
                f"--data {file}: column 'label' holds {kind}, not whole numbers, as classes "
                "should be; `distgan data prepare` numbers names"
            )
        # A row without one is found when it is read.
        highest = max(highest, pc.max(found["label"]).as_py() or 0)
    return numbered_classes(highest, f"--data {files[0]}")
