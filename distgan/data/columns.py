"""Recognises the columns of images and labels in Parquet, of any type that writers use.

The package's format is Parquet: column ``image`` holds raw uint8 pixels, height x width x
channels, as fixed-size binary whose field metadata gives the shape; column ``label``, if there,
int32. Encoded images (PNG, JPEG, ...; also Hugging Face's ``{bytes, path}``) are read too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief, printable

SHAPE_KEY = b"distgan.shape"

LABELS = ("label", "labels", "fine_label")
"""Names of a column of labels; the first one in a file is used."""

_LABEL_LIKE = ("class", "classes", "category", "target", "coarse_label")
"""Other common names of label columns, which are not used but reported."""


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without dictionary encoding, with which some writers compress repeated values."""
    wanted = plain_type(column.type)
    return column if wanted == column.type else column.cast(wanted)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of a column's values, without dictionary encoding."""
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    # View types of newer writers; the code below handles the older types only.
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def plain_table(table: pa.Table) -> pa.Table:
    """A table of `plain` columns, whose fields keep their metadata."""
    for number, field in enumerate(table.schema):
        wanted = plain_type(field.type)
        if wanted != field.type:
            column = plain(table.column(number))
            table = table.set_column(number, field.with_type(wanted), column)
    return table


def label_name(schema: pa.Schema) -> str | None:
    """The column of labels, if there is one."""
    return next((name for name in LABELS if name in schema.names), None)


def unused_labels(schema: pa.Schema) -> list[str]:
    """Columns that look like labels but are not used, as name and type."""
    taken = label_name(schema)
    names = [*LABELS, *_LABEL_LIKE]
    found = [field for field in schema if field.name in names and field.name != taken]
    return [
        f"{field.name}: {field.type}"
        for field in found
        if pa.types.is_integer(plain_type(field.type)) or pa.types.is_string(field.type)
    ]


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded images: bytes, or Hugging Face's struct."""
    kind = plain_type(kind)
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        if at < 0:
            return False
        # Type null: all bytes are missing, and the structs hold paths only; see `only_paths`.
        inner = kind.field(at).type
        return bool(pa.types.is_null(inner)) or holds_bytes(inner)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def cells(column: pa.ChunkedArray) -> list[Any]:
    """The bytes of the encoded images of a column, with None for missing ones."""
    column = plain(column)
    if pa.types.is_struct(column.type):
        column = plain(pc.struct_field(column, "bytes"))
    found: list[Any] = column.to_pylist()
    return found


def only_paths(column: pa.ChunkedArray) -> str | None:
    """A path from a column whose structs hold paths of files and no bytes; else None."""
    kind = column.type
    if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return None
    if any(cell is not None for cell in cells(column)):
        return None
    paths = pc.struct_field(column, "path").drop_null()
    return str(paths[0].as_py()) if len(paths) else None


def whole_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Labels as int64, with -1 for missing ones.

    Raises:
        pyarrow.ArrowInvalid: for a label beyond int64.
    """
    found: NDArray[np.int64] = plain(column).cast(pa.int64()).fill_null(-1).to_numpy()
    return found


def raw_shape(field: pa.Field, where: str) -> ImageShape | None:
    """The shape of raw pixels in a field's metadata; None for a field without one.

    Raises:
        UserError: when it is not a shape, or does not match the number of bytes.
    """
    promised = (field.metadata or {}).get(SHAPE_KEY)
    if promised is None or not pa.types.is_fixed_size_binary(field.type):
        return None
    height, width, channels = _promised(field) or (0, 0, 0)
    size = field.type.byte_width
    if height * width * channels != size:
        raise UserError(
            f"{where}: column {printable(field.name)!r} promises the shape "
            f"{brief(promised.decode('utf-8', 'replace'))} (height, width, channels), but its rows "
            f"hold {size} bytes; make the set again"
        )
    if channels not in (1, 3):
        raise UserError(f"{where}: images of {channels} channels; 1 and 3 are known")
    return ImageShape(channels, height, width)


def _promised(field: pa.Field) -> tuple[int, int, int] | None:
    """Height, width and channels in a field's metadata; None for a field without a shape."""
    try:
        height, width, channels = map(int, (field.metadata or {})[SHAPE_KEY].split(b","))
    except (KeyError, ValueError):
        return None
    return (height, width, channels) if min(height, width, channels) > 0 else None


def encoded_shape(field: pa.Field) -> ImageShape | None:
    """The shape that a field's metadata promises of encoded images; None for a field without."""
    found = _promised(field)
    if found is None or found[2] not in (1, 3) or not holds_bytes(field.type):
        return None
    return ImageShape(found[2], *found[:2])


def no_images(schema: pa.Schema) -> str:
    """The error message for a file without a column of images."""
    paths = any(
        pa.types.is_string(plain_type(field.type)) and field.name in ("image", "img", "path")
        for field in schema
    )
    hint = "; of paths? give the folder of those files, or embed them" if paths else ""
    if "image" in schema.names:
        return f"column 'image' holds {str(schema.field('image').type)[:60]}, not images{hint}"
    return f"has no column 'image' of images ({shown(schema)}){hint}"


def shown(schema: pa.Schema) -> str:
    """The columns of a file with their types, for an error message."""
    fields = [f"{printable(field.name)[:40]}: {str(field.type)[:60]}" for field in schema]
    more = f" and {len(fields) - 10} more" if len(fields) > 10 else ""
    return ", ".join(fields[:10]) + more
