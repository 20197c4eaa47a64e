"""What the footers of a set of clips say, beside its manifest."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from distgan.config.shape import ImageShape
from distgan.data import columns
from distgan.data.clips.schema import FRAMES
from distgan.data.manifest import Manifest
from distgan.errors import UserError


def is_of_clips(schemas: Sequence[pa.Schema], made: Manifest | None, where: str) -> bool:
    """Whether files hold clips rather than images.

    Args:
        schemas: of the files.
        made: the set's manifest; None without.
        where: the option that named the set and what it named, for errors.

    Raises:
        UserError: for clips without a manifest, which alone says how long they are; when it and
            the files differ.
    """
    found = FRAMES in schemas[0].names and "image" not in schemas[0].names
    if made is None and found:
        raise UserError(
            f"{where}: holds clips (a column {FRAMES!r}), but no manifest of their lengths and "
            "rate; copy its manifest.json too, or make the set with `distgan data prepare`"
        )
    if made is not None and (made.clips is not None) != found:
        said, held = ("images", "clips") if found else ("clips", "images")
        raise UserError(
            f"{where}: its manifest says {said}, the files hold {held}; copy it again, or make the "
            "set again with `distgan data prepare`"
        )
    return found


def clip_shape(
    files: Sequence[str], schemas: Sequence[pa.Schema], where: str
) -> tuple[ImageShape, bool]:
    """The shape of all frames, and whether they are encoded.

    Args:
        where: the option that named the set and what it named, for errors.

    Raises:
        UserError: when a file's frames are of another kind or shape than the first's.
    """
    found = [
        _of_file(schema, f"{where}: {file}") for file, schema in zip(files, schemas, strict=True)
    ]
    for file, one in zip(files, found, strict=True):
        if one != found[0]:
            raise UserError(
                f"{where}: frames of {one[0]} in {file}, but of {found[0][0]} in {files[0]}, or "
                "stored otherwise; make the set again with `distgan data prepare`"
            )
    return found[0]


def _of_file(schema: pa.Schema, where: str) -> tuple[ImageShape, bool]:
    named = schema.names.count(FRAMES) == 1
    kind = schema.field(FRAMES).type if named else None
    if kind is not None and (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        # The shape is in the metadata of the list, as that of images is in their column's.
        frame = pa.field(FRAMES, kind.value_type, metadata=schema.field(FRAMES).metadata)
        raw = columns.raw_shape(frame, where)
        shape = raw or columns.encoded_shape(frame)
        if shape is not None:
            return shape, raw is None
    raise UserError(
        f"{where}: has no column {FRAMES!r} of lists of images of one shape "
        f"({columns.shown(schema)}); make the set with `distgan data prepare`"
    )
