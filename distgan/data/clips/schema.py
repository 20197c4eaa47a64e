"""The Arrow schema of sets of clips: a row for every clip, with a list of its frames."""

from __future__ import annotations

import math

import pyarrow as pa

from distgan.config.shape import ImageShape
from distgan.data.columns import SHAPE_KEY

FRAMES = "frames"
"""The column of frames, by which a set of clips is known from one of images."""


def clip_schema(shape: ImageShape, *, encoded: bool, labels: bool) -> pa.Schema:
    """The schema of the package's format for clips whose frames are of ``shape``.

    ``frames`` is a list for each clip: of raw pixels, uint8 (h, w, c) as fixed-size binary, or of
    images that are encoded each by itself. Its field's metadata gives the shape of all.

    Args:
        encoded: frames are stored as PNG or the like rather than as pixels.
        labels: there is a column ``label``.
    """
    kind = pa.binary() if encoded else pa.binary(math.prod(shape))
    about = {SHAPE_KEY: f"{shape.height},{shape.width},{shape.channels}"}
    frames = pa.list_(pa.field("item", kind, nullable=False))
    fields = [pa.field(FRAMES, frames, nullable=False, metadata=about)]
    if labels:
        fields.append(pa.field("label", pa.int32(), nullable=False))
    return pa.schema(fields)
