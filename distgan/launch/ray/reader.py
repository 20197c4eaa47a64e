"""Reads fragments of a set with Ray Data, in tasks on the cluster's processors."""

from __future__ import annotations

import logging
import math
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


def read_resident_on_ray(
    images: ImageSet, replace: bool, verbose: bool, pairs: bool = False
) -> Any:
    """Read and decode a whole set into Ray's object store.

    Args:
        replace: replace damaged rows, as `distgan.data.fragments.read_fragment` does.
        verbose: show Ray Data's messages and progress.
        pairs: read the column of pairs too.

    Returns:
        a reference to the arrays of a `Pixels`, which processes of a node share without copies.

    Raises:
        UserError: for a damaged row or file.
    """
    data = _dataset(images, whole_set(images), replace, pairs, verbose, num_cpus=1)
    # The object is held on the driver's node, so that it is lost only together with the driver;
    # other nodes copy it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    join = _join.options(num_cpus=0, scheduling_strategy=here)
    return join.remote(images, *data.to_arrow_refs())


def read_on_ray(
    images: ImageSet,
    fragments: Iterable[Fragment],
    replace: bool,
    verbose: bool,
    pairs: bool = False,
) -> Iterator[Pixels]:
    """Fragments in their order; some are decoded ahead of their use.

    The boundaries of the yielded pieces may differ from those of the fragments.

    Raises:
        UserError: for a damaged row or file.
    """
    remaining = iter(fragments)
    while chunk := list(islice(remaining, _FRAGMENTS_OF_AN_EXECUTION)):
        # All CPUs are reserved by the workers, so decoding tasks request none.
        data = _dataset(images, chunk, replace, pairs, verbose, num_cpus=0)
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield _pixels(table, images)


def _dataset(
    images: ImageSet,
    fragments: list[Fragment],
    replace: bool,
    pairs: bool,
    verbose: bool,
    num_cpus: int,
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
        fn_args=(images, replace, pairs),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=num_cpus,
        concurrency=None if num_cpus else _AHEAD,
    )


def _read(places: pa.Table, images: ImageSet, replace: bool, pairs: bool) -> pa.Table:
    fragments = [Fragment(*place) for place in places.column("fragment").to_pylist()]
    pixels = join([read_fragment(images, fragment, replace, pairs) for fragment in fragments])
    columns = {"image": _column(pixels.images), "replaced": pa.array(pixels.replaced)}
    if pixels.labels is not None:
        columns["label"] = pa.array(pixels.labels)
    if pixels.pairs is not None:
        columns["pair"] = _column(pixels.pairs)
    return pa.table(columns)


def _column(images: NDArray[np.uint8]) -> pa.Array:
    kind = pa.binary(math.prod(images.shape[1:]))
    content = pa.py_buffer(np.ascontiguousarray(images))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(images), [None, content])


def _pixels(table: pa.Table, images: ImageSet) -> Pixels:
    names = table.column_names
    return Pixels(
        _images(table.column("image"), images.shape),
        table.column("label").to_numpy() if "label" in names else None,
        table.column("replaced").to_numpy(),
        _images(table.column("pair"), images.pair) if "pair" in names and images.pair else None,
    )


def _images(column: pa.ChunkedArray, shape: ImageShape) -> NDArray[np.uint8]:
    whole, size = column.combine_chunks(), math.prod(shape)
    images = np.frombuffer(whole.buffers()[1], np.uint8)
    images = images[whole.offset * size : (whole.offset + len(whole)) * size]
    return images.reshape(-1, shape.height, shape.width, shape.channels)


@ray.remote  # type: ignore[untyped-decorator]
def _join(images: ImageSet, *tables: pa.Table) -> tuple[NDArray[Any] | None, ...]:
    pixels = fill(images.count, (_pixels(table, images) for table in tables))
    return pixels.images, pixels.labels, pixels.replaced, pixels.pairs
