"""Reads fragments of a set with Ray Data, in tasks on the cluster's processors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import astuple
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distgan.config.shape import ImageShape
from distgan.data.fragments import Fragment, fill, read_fragment, whole_set
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels, join
from distgan.launch.ray import private

_FRAGMENTS_OF_AN_EXECUTION = 1024
_AHEAD = 4
"""Concurrent decoding tasks for each reading process."""


def read_resident_on_ray(images: ImageSet, replace: bool, verbose: bool) -> Any:
    """Read and decode a whole set into Ray's object store.

    Args:
        replace: replace damaged rows, as `distgan.data.fragments.read_fragment` does.
        verbose: show Ray Data's messages and progress.

    Returns:
        a reference to the arrays of a `Pixels`, which processes of a node share without copies.

    Raises:
        UserError: for a damaged row or file.
    """
    data = _dataset(images, whole_set(images), replace, verbose, num_cpus=1)
    # The object is held on the driver's node, so that it is lost only together with the driver;
    # other nodes copy it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    join = _join.options(num_cpus=0, scheduling_strategy=here)
    return join.remote(images.count, images.shape, *data.to_arrow_refs())


def read_on_ray(
    images: ImageSet, fragments: Iterable[Fragment], replace: bool, verbose: bool
) -> Iterator[Pixels]:
    """Fragments in their order; some are decoded ahead of their use.

    The boundaries of the yielded pieces may differ from those of the fragments.

    Raises:
        UserError: for a damaged row or file.
    """
    remaining = iter(fragments)
    while chunk := list(islice(remaining, _FRAGMENTS_OF_AN_EXECUTION)):
        # All CPUs are reserved by the workers, so decoding tasks request none.
        data = _dataset(images, chunk, replace, verbose, num_cpus=0)
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield _pixels(table, images.shape)


def _dataset(
    images: ImageSet, fragments: list[Fragment], replace: bool, verbose: bool, num_cpus: int
) -> ray.data.Dataset:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    # A task's exception is raised by the read, so it is not also logged.
    logging.getLogger("ray.data").setLevel(logging.INFO if verbose else logging.CRITICAL)
    context.execution_options.preserve_order = True
    # Raise a task's `UserError` itself, not wrapped in Ray's exception.
    context.raise_original_map_exception = True
    if private.usable():
        from distgan.launch.ray.private.data_backoff import be_unhurried

        be_unhurried(context)
    items = [{"fragment": astuple(fragment)} for fragment in fragments]
    return ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _read,
        fn_args=(images, replace),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=num_cpus,
        concurrency=None if num_cpus else _AHEAD,
    )


def _read(places: pa.Table, images: ImageSet, replace: bool) -> pa.Table:
    fragments = [Fragment(*place) for place in places.column("fragment").to_pylist()]
    pixels = join([read_fragment(images, fragment, replace) for fragment in fragments])
    count = len(pixels.images)
    rows = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(images.image_bytes),
        count,
        [None, pa.py_buffer(np.ascontiguousarray(pixels.images))],
    )
    columns = {"image": rows, "replaced": pa.array(pixels.replaced)}
    if pixels.labels is not None:
        columns["label"] = pa.array(pixels.labels)
    return pa.table(columns)


def _pixels(table: pa.Table, shape: ImageShape) -> Pixels:
    column = table.column("image").combine_chunks()
    size = shape.height * shape.width * shape.channels
    images = np.frombuffer(column.buffers()[1], np.uint8)
    images = images[column.offset * size : (column.offset + len(column)) * size]
    labels = table.column("label").to_numpy() if "label" in table.column_names else None
    return Pixels(
        images.reshape(-1, shape.height, shape.width, shape.channels),
        labels,
        table.column("replaced").to_numpy(),
    )


@ray.remote  # type: ignore[untyped-decorator]
def _join(
    count: int, shape: ImageShape, *tables: pa.Table
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, NDArray[np.bool_]]:
    pixels = fill(count, shape, (_pixels(table, shape) for table in tables))
    return pixels.images, pixels.labels, pixels.replaced
