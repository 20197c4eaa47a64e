"""`distgan data prepare`: sources in, the package's Parquet and a manifest out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distgan.data import idx
from distgan.data.images import MANIFEST, pixel_schema
from distgan.errors import UserError
from distgan.networks.base import ImageShape
from distgan.storage import Storage

ROWS_PER_GROUP = 4096
"""Rows of a Parquet row group: the unit that can be read, and shuffled, on its own."""

Progress = Callable[[int, int], None]


def prepare(
    source: str,
    out: str,
    *,
    split: str = "train",
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Turn a source into one Parquet file and a manifest.

    The same source always gives the same bytes.

    Args:
        source: a folder with the four IDX files of MNIST or a set in the same form.
        out: path or URI of the folder to write to.
        split: ``train`` or ``test``.
        progress: called with images done and in all.

    Returns:
        the manifest: count, shape, classes, mean pixel and checksums.

    Raises:
        UserError: when the source cannot be used, or ``out`` already holds a set.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise UserError(f"{source}: no such folder; give one that holds MNIST's IDX files")
    storage = Storage(out)
    if storage.exists(MANIFEST):
        raise UserError(f"--out {out}: already holds a prepared set; choose another folder")
    images, labels = idx.read_split(folder, split)
    shape = ImageShape(1, *images.shape[1:])
    name = f"{split}.parquet"
    table = pa.table(
        {"image": _fixed_size(images), "label": pa.array(labels.astype(np.int32))},
        schema=pixel_schema(shape),
    )
    content = _parquet(table, progress)
    storage.write(name, content)
    manifest = {
        "format": 1,
        "count": len(images),
        "height": shape.height,
        "width": shape.width,
        "channels": shape.channels,
        "classes": [str(label) for label in range(int(labels.max()) + 1)],
        "class_counts": np.bincount(labels).tolist(),
        "mean": round(float(images.mean()) / 255, 6),
        "files": [{"name": name, "count": len(images), "sha256": _sha256(content)}],
        "source": {"kind": "idx", "split": split},
    }
    # The manifest goes last: a folder without one is not a finished set.
    storage.write(MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest


def _fixed_size(images: np.ndarray[Any, np.dtype[np.uint8]]) -> pa.Array:
    count, size = len(images), int(np.prod(images.shape[1:]))
    buffer = pa.py_buffer(np.ascontiguousarray(images))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), count, [None, buffer])


def _parquet(table: pa.Table, progress: Progress) -> bytes:
    sink = pa.BufferOutputStream()
    options = {
        "compression": "zstd",
        "compression_level": 9,
        "use_dictionary": False,
        "write_statistics": False,
        "data_page_size": 1 << 22,
    }
    with pq.ParquetWriter(sink, table.schema, **options) as writer:
        for start in range(0, len(table), ROWS_PER_GROUP):
            writer.write_table(table.slice(start, ROWS_PER_GROUP), row_group_size=ROWS_PER_GROUP)
            progress(min(start + ROWS_PER_GROUP, len(table)), len(table))
    return bytes(sink.getvalue().to_pybytes())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
