"""The shapes of the images in the columns of Parquet files, from footers and first rows."""

from __future__ import annotations

import contextlib

import pyarrow as pa
import pyarrow.parquet as pq

from distgan.config.shape import ImageShape
from distgan.data import columns, decoder
from distgan.data.decoder import BadImageError
from distgan.errors import UserError, first_line, printable
from distgan.storage.storage import Storage

_FIRST_ROWS = 100
"""Number of first rows of encoded images in which the shape is taken from an undamaged one."""


def common_shape(
    storage: Storage, data: str, files: list[str], schemas: list[pa.Schema], option: str
) -> ImageShape:
    """The shape of the images of the column ``image``, which all files must have alike.

    Raises:
        UserError: when they have not, or a file has no such column.
    """
    shapes = [_shape(storage, f, schema, option) for f, schema in zip(files, schemas, strict=True)]
    # The shape of a file without rows is unknown.
    known = [(shape, file) for shape, file in zip(shapes, files, strict=True) if shape is not None]
    first, where = known[0]
    for shape, file in known:
        if shape != first:
            raise UserError(
                f"{option} {data}: images of mixed shapes, {first} in {where} but {shape} in "
                f"{file}; resize them to one shape"
            )
    kinds = [columns.holds_bytes(schema.field("image").type) for schema in schemas]
    if len(set(kinds)) > 1:
        raise UserError(
            f"{option} {data}: some files hold pixels and some encoded images; make one set of "
            "them with `distgan data prepare`"
        )
    return first


def _shape(storage: Storage, file: str, schema: pa.Schema, option: str) -> ImageShape | None:
    if schema.names.count("image") != 1:
        raise UserError(
            f"{option} {file}: {columns.no_images(schema)}; make a set with `distgan data prepare`"
        )
    field = schema.field("image")
    raw = columns.raw_shape(field, f"{option} {file}")
    if raw is not None:
        return raw
    if not columns.holds_bytes(field.type):
        raise UserError(
            f"{option} {file}: {columns.no_images(schema)}; make a set with `distgan data prepare`"
        )
    column = _first_rows(storage, file, "image", option)
    if not len(column):
        return None
    path = columns.only_paths(column)
    if path is not None:
        raise UserError(
            f"{option} {file}: column 'image' holds only paths of images, such as "
            f"{printable(path[:200])}, and not the images; make a set of the folder of those files"
        )
    return _first_shape(columns.cells(column), f"{option} {file}")


def pair_shape(
    storage: Storage, files: list[str], schemas: list[pa.Schema], option: str
) -> ImageShape | None:
    """The shape of the images of the column ``pair``.

    None where not all files have one of images of one shape. As most families do not read that
    column, it is no error.
    """
    if any(schema.names.count("pair") != 1 for schema in schemas):
        return None
    fields = [schema.field("pair") for schema in schemas]
    if all(columns.holds_bytes(field.type) for field in fields):
        promised = {columns.encoded_shape(field) for field in fields}
        if len(promised) == 1 and None not in promised:
            return promised.pop()
        for file in files:
            with contextlib.suppress(UserError):
                cells = columns.cells(_first_rows(storage, file, "pair", option))
                return _first_shape(cells, f"{option} {file}")
        return None
    found = {
        columns.raw_shape(field, f"{option} {file}")
        for field, file in zip(fields, files, strict=True)
    }
    return found.pop() if len(found) == 1 else None


def _first_rows(storage: Storage, file: str, name: str, option: str) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(file, filesystem=storage.filesystem) as parquet:
            rows = next(parquet.iter_batches(_FIRST_ROWS, columns=[name]), None)
    except Exception as error:
        # Arrow and its codecs may raise any exception for damaged bytes.
        raise UserError(
            f"{option} {file}, row 0: cannot be read ({first_line(error)}); copy or make it again"
        ) from None
    if rows is None:
        return pa.chunked_array([], pa.binary())
    return pa.chunked_array([rows.column(name)])


def _first_shape(cells: list[bytes | None], where: str) -> ImageShape:
    first: BadImageError | None = None
    for cell in cells:
        try:
            return decoder.shape_of(cell or b"")
        except BadImageError as damage:
            first = first or damage
    raise UserError(
        f"{where}, row 0: {first}; none of the first {len(cells)} images is whole, replace "
        "them or make the set again"
    )
