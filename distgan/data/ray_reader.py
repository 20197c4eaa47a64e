"""Reading images with Ray Data into memory that all workers of a node share."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from distgan.data.images import ImageSet, decode, join
from distgan.networks.base import ImageShape


def read_resident_on_ray(images: ImageSet, verbose: bool) -> Any:
    """Read and decode a whole set into Ray's object store.

    Args:
        verbose: show what Ray Data says and how far it is.

    Returns:
        a reference to (images, labels) as `distgan.data.images.Pixels` holds them, whose
        arrays every process of a node maps instead of copying.

    Raises:
        UserError: for a row that is no image or of another shape.
    """
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    logging.getLogger("ray.data").setLevel(logging.INFO if verbose else logging.ERROR)
    # Image numbers are positions in the files, so blocks must arrive in their order.
    context.execution_options.preserve_order = True
    data = ray.data.read_parquet(
        list(images.files),
        filesystem=images.filesystem,
    ).select_columns(["image", "label"] if images.classes else ["image"])
    return _decode.remote(images.shape, images.uri, *data.to_arrow_refs())


@ray.remote  # type: ignore[untyped-decorator]
def _decode(
    shape: ImageShape, source: str, *tables: pa.Table
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    pixels = join([decode(table, shape, source) for table in tables])
    return pixels.images, pixels.labels
