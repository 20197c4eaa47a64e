"""Parquet with a column of images, Hugging Face's and the package's own included.

The image is in ``image`` or ``img``, the label in ``label``, ``labels`` or ``fine_label``, a
caption in ``caption`` or ``text``, and a paired image in ``pair`` or ``target``.
"""

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

from distgan.data import manifest
from distgan.data.sources.base import ImageData, Item, numbered_classes, of_split
from distgan.errors import UserError
from distgan.storage import Storage

ABOUT = "Parquet files with a column image"

_NAMES = {
    "image": ("image", "img"),
    "label": ("label", "labels", "fine_label"),
    "caption": ("caption", "text"),
    "pair": ("pair", "target"),
}
_SHAPE_KEY = b"distgan.shape"
_HUGGING_FACE = b"huggingface"


def looks_like(path: Path) -> bool:
    """Whether this is a Parquet file or a folder of them."""
    if path.is_dir():
        return _place(path) is not None
    with open(path, "rb") as stream:
        return stream.read(4) == b"PAR1" or path.suffix == ".parquet"


def open_split(path: Path, split: str) -> ParquetSource:
    """The rows of a file, or of those files of a folder that are of the split.

    Raises:
        UserError: when a file is damaged or holds no column of images.
    """
    if path.is_file():
        if split != "train":
            of_split([path.name], split, str(path))
        return ParquetSource(str(path.parent), [path.name])
    place = _place(path) or path
    names = sorted(file.name for file in place.glob("*.parquet"))
    found = manifest.read(Storage(place))
    if found is not None:
        made_of = str(found.source.get("split", split))
        # The default asks for what there is.
        if split not in ("train", made_of):
            raise UserError(
                f"{path}: is the split {made_of} of its source, not {split}; leave --split out, or "
                "prepare the source itself"
            )
        return ParquetSource(str(place), [file.name for file in found.files], found.classes)
    return ParquetSource(str(place), of_split(names, split, str(path)))


class ParquetSource:
    """Rows of Parquet files of one folder, read a row group at a time.

    Args:
        uri: the folder, on any filesystem.
        names: the files, in order.
        classes: names of the labels, where something beside the files gives them.

    Raises:
        UserError: when a file is damaged or holds no column of images.
    """

    kind = "parquet"

    def __init__(self, uri: str, names: Sequence[str], classes: tuple[str, ...] = ()) -> None:
        self._uri, self._names = uri, list(names)
        storage = Storage(uri)
        footers = [_footer(storage, name) for name in names]
        groups = [
            (file, group, metadata.row_group(group).num_rows)
            for file, (metadata, _) in enumerate(footers)
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(file, group) for file, group, _ in groups]
        self._ends = np.cumsum([rows for _, _, rows in groups], dtype=np.int64)
        self._file_starts = np.cumsum([0, *(metadata.num_rows for metadata, _ in footers)])
        self.count = int(self._file_starts[-1])
        schema = footers[0][1]
        self._columns = _columns(schema, storage.show(names[0]))
        self.captions, self.pairs = "caption" in self._columns, "pair" in self._columns
        self.classes: tuple[str, ...] = ()
        if "label" in self._columns:
            self.classes = classes or _named(schema, self._columns["label"]) or self._numbered()
        self._held: tuple[int, pa.Table] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_held": None}

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers."""
        owners = np.searchsorted(self._ends, numbers, side="right")
        items: list[Item] = []
        for owner in np.unique(owners).tolist():
            items += self._items(owner, numbers[owners == owner])
        return items

    def labels(self) -> NDArray[np.int64]:
        """The labels of all rows: int64 (count,), -1 where there is none."""
        column = self._columns["label"]
        storage = Storage(self._uri)
        parts = [
            _table(storage, name, None, [column])[column].cast(pa.int64()).fill_null(-1).to_numpy()
            for name in self._names
        ]
        joined: NDArray[np.int64] = np.concatenate(parts)
        return joined

    def _items(self, owner: int, numbers: NDArray[np.int64]) -> list[Item]:
        file, group = self._groups[owner]
        first = int(self._ends[owner - 1]) if owner else 0
        storage = Storage(self._uri)
        if self._held is None or self._held[0] != owner:
            columns = list(self._columns.values())
            self._held = owner, _table(storage, self._names[file], group, columns)
        table = self._held[1].take(pa.array(numbers - first))
        cells = {part: _cells(table, name) for part, name in self._columns.items()}
        where, start = storage.show(self._names[file]), int(self._file_starts[file])
        return [
            Item(
                image=cells["image"][at] if cells["image"][at] is not None else b"",
                where=f"{where}, row {number - start}",
                label=cells["label"][at] if "label" in cells else None,
                caption=cells["caption"][at] if "caption" in cells else None,
                pair=cells["pair"][at] if "pair" in cells else None,
            )
            for at, number in enumerate(numbers.tolist())
        ]

    def _numbered(self) -> tuple[str, ...]:
        return numbered_classes(int(self.labels().max(initial=0)), self._uri)


def _place(folder: Path) -> Path | None:
    # Hugging Face's repositories keep their files in data/.
    places = (folder, folder / "data")
    return next((place for place in places if any(place.glob("*.parquet"))), None)


def _footer(storage: Storage, name: str) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        with pq.ParquetFile(storage.path(name), filesystem=storage.filesystem) as parquet:
            return parquet.metadata, parquet.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise UserError(_damaged(storage, name, error)) from None


def _table(storage: Storage, name: str, group: int | None, columns: list[str]) -> pa.Table:
    try:
        with pq.ParquetFile(
            storage.path(name), filesystem=storage.filesystem, page_checksum_verification=True
        ) as parquet:
            if group is None:
                return parquet.read(columns=columns)
            return parquet.read_row_group(group, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(_damaged(storage, name, error)) from None


def _damaged(storage: Storage, name: str, error: Exception) -> str:
    reason = str(error).split(".", 1)[0].split("\n", 1)[0]
    return f"{storage.show(name)}: not a whole Parquet file ({reason}); copy or make it again"


def _columns(schema: pa.Schema, where: str) -> dict[str, str]:
    """Which column holds which part of an item.

    Raises:
        UserError: when there is no column of images, or the labels are no numbers.
    """
    found: dict[str, str] = {}
    for part, names in _NAMES.items():
        for name in names:
            if name in schema.names and part not in found and _fits(part, schema.field(name)):
                found[part] = name
    if "image" not in found:
        columns = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise UserError(
            f"{where}: has no column 'image' of encoded images ({columns}); rename or encode it"
        )
    wrong = [name for name in _NAMES["label"][:1] if name in schema.names and "label" not in found]
    if wrong:
        kind = schema.field(wrong[0]).type
        raise UserError(
            f"{where}: column {wrong[0]!r} holds {kind}; labels are whole numbers from 0"
        )
    return found


def _fits(part: str, field: pa.Field) -> bool:
    kind = field.type
    if part == "label":
        return bool(pa.types.is_integer(kind))
    if part == "caption":
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    if pa.types.is_fixed_size_binary(kind):
        return _SHAPE_KEY in (field.metadata or {})
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _cells(table: pa.Table, name: str) -> list[Any]:
    field, column = table.schema.field(name), table.column(name)
    if pa.types.is_struct(field.type):
        column = pc.struct_field(column, "bytes")
    cells: list[Any] = column.to_pylist()
    if not pa.types.is_fixed_size_binary(field.type):
        return cells
    shape = tuple(map(int, field.metadata[_SHAPE_KEY].split(b",")))
    pixels: list[ImageData | None] = [
        None if cell is None else np.frombuffer(cell, np.uint8).reshape(shape) for cell in cells
    ]
    return pixels


def _named(schema: pa.Schema, column: str) -> tuple[str, ...]:
    """The names that Hugging Face keeps in the schema's metadata, if it does."""
    try:
        about = json.loads((schema.metadata or {})[_HUGGING_FACE])
        return tuple(map(str, about["info"]["features"][column]["names"]))
    except (KeyError, TypeError, ValueError):
        return ()
