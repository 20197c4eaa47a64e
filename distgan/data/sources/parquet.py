"""Parquet: the package's own, Hugging Face's, or any with a column of encoded images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from distgan.data import columns, manifest
from distgan.data.clips.schema import FRAMES
from distgan.data.sources.base import (
    ImageData,
    Item,
    Unreadable,
    class_names,
    left_alone,
    numbered_classes,
    open_regular,
)
from distgan.data.sources.listing import ABOUT_DATA, list_folder
from distgan.data.sources.splits import files_of_split
from distgan.errors import UserError, first_line, printable
from distgan.storage.storage import Storage
from distgan.storage.textfiles import refuse_irregular

ABOUT = "Parquet files with a column image"

_NAMES = {
    "image": ("image", "img"),
    "label": columns.LABELS,
    "caption": ("caption", "text"),
    "pair": ("pair", "target"),
}
_HUGGING_FACE = b"huggingface"
_MOST_NAMES = 1 << 16


def looks_like(path: Path) -> bool:
    """Whether this is a Parquet file or a folder of them."""
    if path.is_dir():
        return bool(_places(path))
    with open_regular(path) as stream:
        return stream.read(4) == b"PAR1" or path.suffix.lower() == ".parquet"


def open_split(path: Path, split: str) -> ParquetSource:
    """The rows of a file, or of a folder's files of the split.

    Raises:
        UserError: when a file is damaged or holds no column of images.
    """
    where = printable(str(path))
    if path.is_file():
        if split != "train":
            files_of_split([path.name], split, where)
        return ParquetSource(str(path.parent), [path.name])
    place, *others = _places(path)
    found = manifest.read(Storage(place))
    if found is not None:
        made_of = str(found.source.get("split", split))
        # The default split, train, also opens a prepared set of another split.
        if split not in ("train", made_of):
            raise UserError(
                f"{where}: is the split {made_of} of its source, not {split}; leave --split out, "
                "or prepare the source itself"
            )
        # open_images compares the manifest with the files.
        from distgan.data.images import open_images

        open_images(str(place))
        known = {file.name for file in found.files}
        rest = sorted(file.name for file in place.glob("*.parquet") if file.name not in known)
        notes = left_alone(rest, "Parquet files that the manifest does not name")
        return ParquetSource(str(place), [file.name for file in found.files], found.classes, notes)
    if others and place not in (path, path / "data"):
        some = ", ".join(printable(each.name) for each in (place, *others)[:5])
        raise UserError(f"{where}: Parquet files in several folders ({some}); give one of them")
    names = sorted(file.name for file in place.glob("*.parquet"))
    chosen, notes = files_of_split(names, split, where)
    if place != path:
        notes += (f"read the Parquet files in {printable(place.name)}/",)
    rest = [f"{folder.name}/{file.name}" for folder in others for file in folder.glob("*.parquet")]
    rest += _beside(path)
    notes += left_alone(sorted(rest), "other files beside the Parquet files")
    return ParquetSource(str(place), chosen, notes=notes)


class ParquetSource:
    """Rows of Parquet files of one folder, read a row group at a time.

    Args:
        uri: the folder, on any filesystem.
        names: the files, in order.
        classes: names of the labels, if known from outside the files.
        notes: see `Source`.

    Raises:
        UserError: when a file is damaged, has no column of images, or other columns than the
            first one.
    """

    kind = "parquet"

    def __init__(
        self,
        uri: str,
        names: Sequence[str],
        classes: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
    ) -> None:
        storage = Storage(uri)
        self._uri, self._names, self.notes = storage.anywhere(), list(names), notes
        footers = [_footer(storage, name) for name in names]
        groups = [
            (file, group, metadata.row_group(group).num_rows)
            for file, (metadata, _) in enumerate(footers)
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(file, group) for file, group, _ in groups]
        self._ends = np.cumsum([rows for _, _, rows in groups], dtype=np.int64)
        self._file_starts = np.cumsum([0, *(metadata.num_rows for metadata, _ in footers)])
        self.count = int(self._ends[-1]) if groups else 0
        schema = footers[0][1]
        self._columns = _columns(schema, storage.show(names[0]))
        for name, (_, other) in zip(names, footers, strict=True):
            _refuse_other(storage.show(name), other, storage.show(names[0]), schema, self._columns)
        self.captions, self.pairs = "caption" in self._columns, "pair" in self._columns
        if unused := columns.unused_labels(schema):
            self.notes += (f"left alone: columns {printable(', '.join(unused)[:200])}",)
        self._held: tuple[int, pa.Table] | None = None
        self._texts: dict[str, int] | None = None
        self.classes: tuple[str, ...] = ()
        if "label" in self._columns:
            self.classes = self._classes(schema, classes)
        if self.count:
            self._refuse_paths(storage)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers; those of a damaged row group are `Unreadable`."""
        owners = np.searchsorted(self._ends, numbers, side="right")
        items: list[Item] = []
        for owner in np.unique(owners).tolist():
            items += self._items(owner, numbers[owners == owner])
        return items

    def labels(self) -> NDArray[np.int64]:
        """The labels of all rows: int64 (count,), with -1 for missing ones.

        Raises:
            UserError: when they cannot be read.
        """
        name = self._columns["label"]
        storage = Storage(self._uri)
        parts = []
        for file in self._names:
            try:
                column = _table(storage, file, None, [name]).column(name)
                parts.append(self._numbers(column))
            except Exception as error:
                # Arrow may raise any exception for damaged bytes.
                raise UserError(
                    f"{storage.show(file)}: column {name!r} cannot be read as labels "
                    f"({first_line(error)}); they are whole numbers from 0, or names"
                ) from None
        joined: NDArray[np.int64] = np.concatenate(parts)
        return joined

    def _numbers(self, column: pa.ChunkedArray) -> NDArray[np.int64]:
        if self._texts is None:
            return columns.whole_numbers(column)
        of = self._texts
        return np.array(
            [-1 if each is None else of[each] for each in columns.plain(column).to_pylist()],
            np.int64,
        )

    def _cell_labels(self, column: pa.ChunkedArray) -> list[int | None]:
        numbers, there = self._numbers(column).tolist(), column.is_valid().to_pylist()
        return [number if known else None for number, known in zip(numbers, there, strict=True)]

    def _items(self, owner: int, numbers: NDArray[np.int64]) -> list[Item]:
        file, group = self._groups[owner]
        storage = Storage(self._uri)
        where, start = storage.show(self._names[file]), int(self._file_starts[file])
        names = [f"{where}, row {number - start}" for number in numbers.tolist()]
        try:
            table = self._group(storage, owner)
            first = int(self._ends[owner - 1]) if owner else 0
            table = table.take(pa.array(numbers - first))
            parts = {part: _cells(table, name) for part, name in self._columns.items()}
            if "label" in parts:
                parts["label"] = self._cell_labels(table.column(self._columns["label"]))
        except Exception as error:
            # Arrow may raise any exception for damaged bytes; the whole row group is lost.
            lost = Unreadable(f"row group {group} is damaged ({first_line(error)})")
            return [Item(lost, name) for name in names]
        return [
            Item(
                image=_there(parts["image"][at]),
                where=name,
                label=parts["label"][at] if "label" in parts else None,
                caption=parts["caption"][at] if "caption" in parts else None,
                pair=parts["pair"][at] if "pair" in parts else None,
            )
            for at, name in enumerate(names)
        ]

    def _group(self, storage: Storage, owner: int) -> pa.Table:
        if self._held is None or self._held[0] != owner:
            file, group = self._groups[owner]
            wanted = list(self._columns.values())
            self._held = owner, _table(storage, self._names[file], group, wanted)
        return self._held[1]

    def _classes(self, schema: pa.Schema, given: tuple[str, ...]) -> tuple[str, ...]:
        name = self._columns["label"]
        if columns.is_text(columns.plain_type(schema.field(name).type)):
            distinct = self._distinct(name)
            self._texts = {text: number for number, text in enumerate(distinct)}
            return class_names(distinct)
        known = given or _named(schema, name)
        return known or numbered_classes(int(self.labels().max(initial=0)), self._uri)

    def _distinct(self, name: str) -> list[str]:
        storage, found = Storage(self._uri), set[str]()
        for file in self._names:
            try:
                column = _table(storage, file, None, [name]).column(name)
                found |= set(pc.unique(columns.plain(column)).drop_null().to_pylist())
            except Exception as error:
                raise UserError(_damaged(storage, file, error)) from None
            if len(found) > _MOST_NAMES:
                raise UserError(
                    f"{storage.show(file)}: column {name!r} holds over {_MOST_NAMES:,} different "
                    "texts, too many to be classes; rename it (a caption?)"
                )
        return sorted(found)

    def _refuse_paths(self, storage: Storage) -> None:
        for part in ("image", "pair"):
            name = self._columns.get(part)
            if name is None:
                continue
            try:
                path = columns.only_paths(self._group(storage, 0).slice(0, 100).column(name))
            except Exception:
                # Damaged row groups are reported row by row when they are read.
                continue
            if path is not None:
                raise UserError(
                    f"{storage.show(self._names[0])}: column {name!r} holds only paths of images, "
                    f"such as {printable(path[:200])}, and not the images; give the folder of "
                    "those files, or embed them"
                )


def _places(folder: Path) -> list[Path]:
    """Folders with Parquet files: this one, else data/ in it, and those one level below.

    Hugging Face's repositories have their files in data/, or in one folder per configuration.
    """
    below = sorted(
        child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    below.sort(key=lambda child: child.name != "data")
    return [place for place in (folder, *below) if any(place.glob("*.parquet"))]


def _beside(folder: Path) -> list[str]:
    """Other files in a folder of Parquet files, and below it."""
    return [
        name
        for name in list_folder(folder).names
        if not name.endswith(".parquet") and name.rsplit("/", 1)[-1].lower() not in ABOUT_DATA
    ]


def _footer(storage: Storage, name: str) -> tuple[pq.FileMetaData, pa.Schema]:
    refuse_irregular(storage, storage.path(name), storage.show(name))
    try:
        with pq.ParquetFile(storage.path(name), filesystem=storage.filesystem) as parquet:
            return parquet.metadata, parquet.schema_arrow
    except Exception as error:
        # Arrow and its codecs may raise any exception for damaged bytes.
        raise UserError(_damaged(storage, name, error)) from None


def _table(storage: Storage, name: str, group: int | None, wanted: list[str]) -> pa.Table:
    with pq.ParquetFile(
        storage.path(name), filesystem=storage.filesystem, page_checksum_verification=True
    ) as parquet:
        if group is None:
            return columns.plain_table(parquet.read(columns=wanted))
        return columns.plain_table(parquet.read_row_group(group, columns=wanted))


def _damaged(storage: Storage, name: str, error: Exception) -> str:
    reason = first_line(error).split(".", 1)[0]
    return f"{storage.show(name)}: not a whole Parquet file ({reason}); copy or make it again"


def _columns(schema: pa.Schema, where: str) -> dict[str, str]:
    """The column of each part of an item.

    Raises:
        UserError: when there is no column of images, or a column named like a part has an
            unsuitable type.
    """
    found: dict[str, str] = {}
    for part, names in _NAMES.items():
        for name in names:
            if name in schema.names and part not in found and _fits(part, schema.field(name)):
                found[part] = name
    if "image" not in found and FRAMES in schema.names:
        raise UserError(
            f"{where}: holds clips (a column {FRAMES!r}), a set already; give the source that it "
            "was made of"
        )
    if "image" not in found:
        raise UserError(f"{where}: {columns.no_images(schema)}; rename or encode it")
    wrong = [name for name in _NAMES["label"] if name in schema.names and "label" not in found]
    if wrong:
        kind = str(schema.field(wrong[0]).type)[:60]
        raise UserError(
            f"{where}: column {wrong[0]!r} holds {kind}; labels are whole numbers from 0, or names"
        )
    for part in ("image", "pair"):
        if part in found:
            columns.raw_shape(schema.field(found[part]), where)
    return found


def _refuse_other(
    where: str, schema: pa.Schema, first: str, wanted: pa.Schema, found: dict[str, str]
) -> None:
    """Check that a file has the columns of the first one.

    Raises:
        UserError: when one is missing or has another type.
    """
    for name in found.values():
        if name not in schema.names:
            raise UserError(
                f"{where}: lacks the column {name!r} that {first} has; give files of one kind"
            )
        kind, other = wanted.field(name).type, schema.field(name).type
        if columns.plain_type(kind) != columns.plain_type(other):
            raise UserError(
                f"{where}: column {name!r} holds {str(other)[:60]}, but {str(kind)[:60]} in "
                f"{first}; give files of one kind"
            )
    extra = [name for name in _columns(schema, where).values() if name not in found.values()]
    if extra:
        raise UserError(
            f"{where}: has a column {extra[0]!r} that {first} lacks; give files of one kind"
        )


def _fits(part: str, field: pa.Field) -> bool:
    kind = columns.plain_type(field.type)
    if part == "label":
        return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or columns.is_text(kind))
    if part == "caption":
        return columns.is_text(kind)
    if pa.types.is_fixed_size_binary(kind):
        return columns.SHAPE_KEY in (field.metadata or {})
    return columns.holds_bytes(kind)


def _cells(table: pa.Table, name: str) -> list[Any]:
    field, column = table.schema.field(name), table.column(name)
    shape = columns.raw_shape(field, name)
    if shape is None:
        return columns.cells(column)
    sides = shape.height, shape.width, shape.channels
    pixels: list[ImageData | None] = [
        None if cell is None else np.frombuffer(cell, np.uint8).reshape(sides)
        for cell in columns.plain(column).to_pylist()
    ]
    return pixels


def _there(image: ImageData | None) -> ImageData:
    return Unreadable("is missing (null)") if image is None else image


def _named(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The class names in Hugging Face's metadata of the schema, if there are any."""
    try:
        about = json.loads((schema.metadata or {})[_HUGGING_FACE])
        names = about["info"]["features"][column]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
    if not isinstance(names, list) or len(names) > _MOST_NAMES:
        return ()
    return class_names(str(name)[:200] for name in names)
