"""A set of images: its location, and the contents of its manifest and footers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from distgan.config.clip import Clips
from distgan.config.settings import nearest
from distgan.config.shape import ImageShape
from distgan.data import columns, manifest
from distgan.data.columns import SHAPE_KEY
from distgan.data.manifest import Manifest
from distgan.data.shapes import common_shape, pair_shape
from distgan.data.sources import MADE
from distgan.data.sources.base import numbered_classes
from distgan.data.sources.named import NAMED
from distgan.data.sources.sides import SIDES
from distgan.data.unfinished import UNFINISHED
from distgan.errors import UserError, first_line, printable
from distgan.storage.storage import Storage
from distgan.storage.textfiles import refuse_irregular

PACKAGED = {"mnist": Path(__file__).parent / "mnist"}
"""Sets inside the package, by the name that ``--data`` takes."""


@dataclass(frozen=True)
class ImageSet:
    """A set of images on some filesystem, known from its manifest and Parquet footers.

    Images are numbered 0, 1, ... through the files in their order.

    ``groups`` holds the number of rows of every row group of every file. ``classes`` holds the
    names of the labels 0, 1, ..., and is empty without labels; ``label`` is their column.
    ``encoded`` says that images are stored encoded (PNG, JPEG, ...) rather than as pixels.
    ``pair`` is the shape of the images of the column ``pair``; None without one. Of a set of clips
    rows are clips, ``shape`` is that of a frame and ``clips`` are their lengths; None of images.
    """

    uri: str
    files: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    shape: ImageShape
    classes: tuple[str, ...]
    encoded: bool
    label: str = columns.LABELS[0]
    pair: ImageShape | None = None
    clips: Clips | None = None

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(map(sum, self.groups))

    @property
    def bytes(self) -> int:
        """Bytes of all images, or of all frames, decoded."""
        return (self.count if self.clips is None else self.clips.frames) * self.image_bytes

    @property
    def image_bytes(self) -> int:
        """Bytes of one image, or of one frame, decoded."""
        return math.prod(self.shape)

    @property
    def pair_bytes(self) -> int:
        """Bytes of the pair of an image, decoded; 0 without pairs."""
        return 0 if self.pair is None else math.prod(self.pair)

    def locate(self, number: int) -> str:
        """File and row of an image, for error messages."""
        for file, groups in zip(self.files, self.groups, strict=True):
            if number < sum(groups):
                return f"{file}, row {number}"
            number -= sum(groups)
        raise IndexError(number)

    def find(self, place: str) -> int | None:
        """The inverse of `locate`, also after the set was moved; None for an unknown place."""
        file, _, row = place.rpartition(", row ")
        names = [name.rpartition("/")[2] for name in self.files]
        name = file.rpartition("/")[2]
        if name not in names or not row.isdecimal() or len(row) > 18:
            return None
        at = names.index(name)
        number = int(row)
        if number >= sum(self.groups[at]):
            return None
        return sum(map(sum, self.groups[:at])) + number

    @property
    def filesystem(self) -> pafs.FileSystem:
        """The filesystem that ``files`` are paths in."""
        return Storage(self.uri).filesystem


def open_images(data: str, option: str = "--data") -> ImageSet:
    """Open a set by the name of a packaged one, a path or a URI; reads only its footers.

    Args:
        option: the option or argument that named the set, for errors.

    Raises:
        UserError: when it is missing, empty, truncated, or holds no images.
    """
    storage, where = Storage(str(PACKAGED.get(data, data))), f"{option} {data}"
    try:
        there = storage.exists()
    except OSError as error:
        raise UserError(f"{where}: cannot be reached ({error})") from None
    if not there:
        known = ", ".join(PACKAGED)
        if data in NAMED or data in MADE:
            raise UserError(
                f"{where}: is not here yet; make it with `distgan data prepare {data} --out {data}`"
            )
        raise UserError(
            f"{where}: no such set, file or folder{nearest(data, list(PACKAGED))}; "
            f"give {known}, a Parquet file, or a folder made by `distgan data prepare`"
        )
    made = manifest.read(storage)
    if made is None and storage.exists(UNFINISHED):
        raise UserError(
            f"{where}: its preparation was stopped half-way; repeat `distgan data prepare`"
        )
    if made is not None:
        _check_shards(storage, where, made)
        # Only the files in the manifest, in its order.
        files = [storage.path(shard.name) for shard in made.files]
    else:
        files = _parquet_files(storage, where)
    footers = [_footer(storage, file, option) for file in files]
    groups = tuple(
        tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
        for metadata, _ in footers
    )
    if sum(map(sum, groups)) == 0:
        raise UserError(f"{where}: holds no images (0 rows); make the set again")
    shape = common_shape(storage, data, files, [schema for _, schema in footers], option)
    schemas = [schema for _, schema in footers]
    encoded = columns.holds_bytes(schemas[0].field("image").type)
    labelled, pair = _labelled(files, schemas, option), pair_shape(storage, files, schemas, option)
    if made is not None:
        counts = [sum(rows) for rows in groups]
        _check_promises(where, made, shape, pair, counts, labelled is not None)
    classes = () if labelled is None else _classes(storage, files, made, labelled, option)
    label = labelled or columns.LABELS[0]
    return ImageSet(storage.uri, tuple(files), groups, shape, classes, encoded, label, pair)


def pixel_schema(
    shape: ImageShape,
    *,
    encoded: bool = False,
    labels: bool = True,
    captions: bool = False,
    pair: ImageShape | None = None,
) -> pa.Schema:
    """The Arrow schema of the package's format for images of ``shape``.

    Args:
        encoded: images are stored as PNG or the like rather than as pixels.
        labels: there is a column ``label``.
        captions: there is a column ``caption``, text or null.
        pair: shape of the images of a column ``pair``; None without one.
    """

    def images(name: str, shape: ImageShape) -> pa.Field:
        kind = pa.binary() if encoded else pa.binary(shape.height * shape.width * shape.channels)
        about = {SHAPE_KEY: f"{shape.height},{shape.width},{shape.channels}"}
        return pa.field(name, kind, nullable=False, metadata=about)

    fields = [images("image", shape)]
    if labels:
        fields.append(pa.field("label", pa.int32(), nullable=False))
    if captions:
        fields.append(pa.field("caption", pa.string()))
    if pair is not None:
        fields.append(images("pair", pair))
    return pa.schema(fields)


def refuse_two_sets(storage: Storage, where: str) -> None:
    """See that a folder is not one of two prepared sets, A and B.

    Args:
        where: the option that named it and what it named, for errors.

    Raises:
        UserError: when it is, with how to train on both.
    """
    if all(storage.exists(f"{side}/{manifest.MANIFEST}") for side in SIDES):
        a, b = map(storage.show, SIDES)
        raise UserError(
            f"{where}: holds two sets; give one of them, or both to a family that learns from two: "
            f"--data {a} --data_b {b}"
        )


def _parquet_files(storage: Storage, where: str) -> list[str]:
    if storage.filesystem.get_file_info(storage.path()).is_file:
        return [storage.path()]
    names = storage.names()
    refuse_two_sets(storage, where)
    found = [storage.path(name) for name in names if name.endswith(".parquet")]
    below = [
        name
        for name in names
        if not name.startswith(".")
        and storage.is_folder(name)
        and any(file.endswith(".parquet") for file in storage.names(name))
    ]
    if below:
        beside = "holds .parquet files in sub-folders too" if found else "holds no .parquet file"
        raise UserError(
            f"{where}: {beside}, but in {printable(below[0])}/; give one folder, such as "
            f"{storage.show(below[0])}, or make a set with `distgan data prepare`"
        )
    if not found:
        raise UserError(f"{where}: holds no .parquet file; make a set with `distgan data prepare`")
    return found


def _check_shards(storage: Storage, where: str, made: Manifest) -> None:
    for shard in made.files:
        info = storage.filesystem.get_file_info(storage.path(shard.name))
        if not info.is_file:
            raise UserError(
                f"{where}: shard {shard.name} is missing; copy it again, or make the "
                "set again with `distgan data prepare`"
            )
        if info.size != shard.bytes:
            raise UserError(
                f"{where}: shard {shard.name} has {info.size:,} bytes, its manifest says "
                f"{shard.bytes:,}; copy it again"
            )


def _check_promises(
    where: str,
    made: Manifest,
    shape: ImageShape,
    pair: ImageShape | None,
    rows: list[int],
    labelled: bool,
) -> None:
    """Compare the manifest with the footers.

    Raises:
        UserError: for the first thing in which they differ.
    """
    promised = ImageShape(made.channels, made.height, made.width)
    facts: list[tuple[str, object, object]] = [("a shape of", promised, shape)]
    if (made.pair_shape, pair) != (None, None):
        facts.append(("pairs of a shape of", made.pair_shape, pair))
    facts += [
        (f"images in {shard.name}:", shard.count, count)
        for shard, count in zip(made.files, rows, strict=True)
    ]
    facts += [
        ("images in all:", made.count, sum(rows)),
        ("labels:", bool(made.classes), labelled),
    ]
    for what, said, found in facts:
        if said != found:
            raise UserError(
                f"{where}: its manifest says {what} {said}, the files hold {found}; copy it "
                "again, or make the set again with `distgan data prepare`"
            )


def _footer(storage: Storage, file: str, option: str) -> tuple[pq.FileMetaData, pa.Schema]:
    refuse_irregular(storage, file, f"{option} {file}")
    try:
        with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
            return parquet.metadata, parquet.schema_arrow
    except Exception as error:
        # Arrow and its codecs may raise any exception for damaged bytes.
        reason = first_line(error).split(".", 1)[0]
        raise UserError(
            f"{option} {file}: not a whole Parquet file ({reason}); copy or make it again"
        ) from None


def _labelled(files: list[str], schemas: list[pa.Schema], option: str) -> str | None:
    """The column of labels, which all files must have alike; None without one."""
    name = columns.label_name(schemas[0]) or columns.LABELS[0]
    kinds = [
        schema.field(name).type if schema.names.count(name) == 1 else None for schema in schemas
    ]
    for file, kind in zip(files, kinds, strict=True):
        if (kind is None) != (kinds[0] is None):
            there, lacking = (file, files[0]) if kinds[0] is None else (files[0], file)
            raise UserError(
                f"{option} {lacking}: lacks the column {name!r} that {there} has; give files of "
                "one kind"
            )
        if kind is not None and not pa.types.is_integer(columns.plain_type(kind)):
            raise UserError(
                f"{option} {file}: column {name!r} holds {str(kind)[:60]}, not whole numbers, as "
                "classes should be; `distgan data prepare` numbers names"
            )
    return None if kinds[0] is None else name


def _classes(
    storage: Storage, files: list[str], made: Manifest | None, name: str, option: str
) -> tuple[str, ...]:
    if made is not None and made.classes:
        return made.classes
    highest = 0
    for file in files:
        try:
            with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
                labels = columns.whole_numbers(parquet.read(columns=[name])[name])
        except Exception as error:
            raise UserError(
                f"{option} {file}: column {name!r} cannot be read as whole numbers "
                f"({first_line(error)}); make the set again with `distgan data prepare`"
            ) from None
        # Missing labels are found when their rows are read.
        highest = max(highest, int(labels.max(initial=0)))
    return numbered_classes(highest, f"{option} {files[0]}")
