"""A set whose images say which they are: image i holds the bytes of i as its pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from distgan.config.shape import ImageShape
from distgan.data.images import pixel_schema

SHAPE = ImageShape(1, 2, 2)


def write_numbered(folder: Path, files: list[list[int]]) -> str:
    """Write one Parquet file for each list of row-group sizes; image i is labelled i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    schema, first = pixel_schema(SHAPE), 0
    for number, groups in enumerate(files):
        with pq.ParquetWriter(folder / f"part-{number}.parquet", schema) as writer:
            for rows in groups:
                numbers = np.arange(first, first + rows)
                first += rows
                cells = [int(n).to_bytes(4, "little") for n in numbers]
                columns = {"image": pa.array(cells, pa.binary(4)), "label": numbers % 10}
                table = pa.table(columns).cast(schema)
                writer.write_table(table, row_group_size=rows)
    return str(folder)


def numbers_of(images: torch.Tensor) -> NDArray[np.int64]:
    """Which images these are: uint8 (n, 2, 2, 1) -> int64 (n,)."""
    return images.contiguous().numpy().reshape(-1, 4).view("<u4")[:, 0].astype(np.int64)
