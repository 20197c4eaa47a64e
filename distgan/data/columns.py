"""Columns of Parquet: which hold images and labels, of whatever type a writer chose.

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

from distgan.data.shape import ImageShape
from distgan.errors import UserError, brief, printable

SHAPE_KEY = b"distgan.shape"


def plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column without a dictionary, which some writers compress repeated values with."""
    kind = column.type
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of what a column holds, dictionary or not."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded images: bytes, or Hugging Face's struct."""
    kind = plain_type(kind)
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        if at < 0:
            return False
        # Of nothing but null, a file holds paths only: see `only_paths`.
        inner = kind.field(at).type
        return bool(pa.types.is_null(inner)) or holds_bytes(inner)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def cells(column: pa.ChunkedArray) -> list[Any]:
    """The bytes of encoded images, or None where there are none."""
    column = plain(column)
    if pa.types.is_struct(column.type):
        column = plain(pc.struct_field(column, "bytes"))
    found: list[Any] = column.to_pylist()
    return found


def only_paths(column: pa.ChunkedArray) -> str | None:
    """A path out of a column whose structs hold paths of files and no bytes; None of any other."""
    kind = column.type
    if not pa.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return None
    if any(cell is not None for cell in cells(column)):
        return None
    paths = pc.struct_field(column, "path").drop_null()
    return str(paths[0].as_py()) if len(paths) else None


def whole_numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Labels as int64, -1 where there is none.

    Raises:
        pyarrow.ArrowInvalid: for one that is larger than int64 holds.
    """
    found: NDArray[np.int64] = plain(column).cast(pa.int64()).fill_null(-1).to_numpy()
    return found


def raw_shape(field: pa.Field, where: str) -> ImageShape | None:
    """The shape of raw pixels that a field promises; None for a field of anything else.

    Raises:
        UserError: when what it promises is no shape, or does not fit its bytes.
    """
    promised = (field.metadata or {}).get(SHAPE_KEY)
    if promised is None or not pa.types.is_fixed_size_binary(field.type):
        return None
    try:
        height, width, channels = map(int, promised.split(b","))
    except ValueError:
        height = width = channels = 0
    size = field.type.byte_width
    if min(height, width, channels) < 1 or height * width * channels != size:
        raise UserError(
            f"{where}: column {printable(field.name)!r} promises the shape "
            f"{brief(promised.decode('utf-8', 'replace'))} (height, width, channels), but its rows "
            f"hold {size} bytes; make the set again"
        )
    if channels not in (1, 3):
        raise UserError(f"{where}: images of {channels} channels; 1 and 3 are known")
    return ImageShape(channels, height, width)


def no_images(schema: pa.Schema) -> str:
    """What to say of a file without a column of images."""
    paths = any(
        pa.types.is_string(plain_type(field.type)) and field.name in ("image", "img", "path")
        for field in schema
    )
    hint = "; of paths? give the folder of those files, or embed them" if paths else ""
    if "image" in schema.names:
        return f"column 'image' holds {str(schema.field('image').type)[:60]}, not images{hint}"
    return f"has no column 'image' of images ({shown(schema)}){hint}"


def shown(schema: pa.Schema) -> str:
    """The columns of a file and their types, as an error names them."""
    fields = [f"{printable(field.name)[:40]}: {str(field.type)[:60]}" for field in schema]
    more = f" and {len(fields) - 10} more" if len(fields) > 10 else ""
    return ", ".join(fields[:10]) + more
