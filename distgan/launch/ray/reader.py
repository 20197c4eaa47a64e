"""Reads fragments of a set with Ray Data, in tasks on the cluster's processors."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distgan.config.clip import FrameRule
from distgan.data.clips.decode import WholeClips
from distgan.data.clips.whole import fill_clips, read_group
from distgan.data.fragments import Fragment, fill, read_fragment, whole_set
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels, array_shape, join
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
        a reference to a `Pixels`, or of clips to a `WholeClips`, whose arrays processes of a node
        share without copies.

    Raises:
        UserError: for a damaged row or file.
    """
    data = _dataset(images, whole_set(images), replace, pairs, None, verbose, num_cpus=1)
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
    rule: FrameRule | None = None,
) -> Iterator[Pixels]:
    """Fragments in their order; some are decoded ahead of their use.

    The boundaries of the yielded pieces may differ from those of the fragments.

    Args:
        rule: which frames of a set of clips are decoded, as `read_fragment` does.

    Raises:
        UserError: for a damaged row or file.
    """
    remaining = iter(fragments)
    while chunk := list(islice(remaining, _FRAGMENTS_OF_AN_EXECUTION)):
        # All CPUs are reserved by the workers, so decoding tasks request none.
        data = _dataset(images, chunk, replace, pairs, rule, verbose, num_cpus=0)
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
            yield _pixels(table, images, rule)


def _dataset(
    images: ImageSet,
    fragments: list[Fragment],
    replace: bool,
    pairs: bool,
    rule: FrameRule | None,
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
    items = [asdict(fragment) for fragment in fragments]
    return ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _read,
        fn_args=(images, replace, pairs, rule),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=num_cpus,
        concurrency=None if num_cpus else _AHEAD,
    )


def _read(
    places: pa.Table, images: ImageSet, replace: bool, pairs: bool, rule: FrameRule | None
) -> pa.Table:
    fragments = [Fragment(**row) for row in places.to_pylist()]
    if images.clips is not None and rule is None:
        return pa.concat_tables([_whole(read_group(images, one, replace)) for one in fragments])
    pixels = join([read_fragment(images, one, replace, pairs, rule) for one in fragments])
    columns = {"image": _column(pixels.images), "replaced": pa.array(pixels.replaced)}
    if pixels.labels is not None:
        columns["label"] = pa.array(pixels.labels)
    if pixels.pairs is not None:
        columns["pair"] = _column(pixels.pairs)
    if pixels.times is not None:
        columns["times"] = pa.FixedSizeListArray.from_arrays(
            pa.array(pixels.times.reshape(-1)), pixels.times.shape[1]
        )
    return pa.table(columns)


def _whole(clips: WholeClips) -> pa.Table:
    """Clips as a table, which may be cut between any rows."""
    ends = np.concatenate([[0], np.cumsum(clips.lengths)])
    frames = pa.LargeListArray.from_arrays(pa.array(ends), _column(clips.frames))
    columns = {"frames": frames, "shown": pa.array(clips.shown)}
    if clips.labels is not None:
        columns["label"] = pa.array(clips.labels)
    return pa.table(columns)


def _column(images: NDArray[np.uint8]) -> pa.Array:
    kind = pa.binary(math.prod(images.shape[1:]))
    content = pa.py_buffer(np.ascontiguousarray(images))
    return pa.FixedSizeBinaryArray.from_buffers(kind, len(images), [None, content])


def _pixels(table: pa.Table, images: ImageSet, rule: FrameRule | None = None) -> Pixels:
    names, shape = table.column_names, array_shape(images.shape)
    pair = array_shape(images.pair) if "pair" in names and images.pair else None
    times = None
    if "times" in names:
        times = table.column("times").combine_chunks().flatten().to_numpy()
    return Pixels(
        _images(table.column("image").combine_chunks(), (rule.shown, *shape) if rule else shape),
        table.column("label").to_numpy() if "label" in names else None,
        table.column("replaced").to_numpy(),
        None if pair is None else _images(table.column("pair").combine_chunks(), pair),
        None if times is None or rule is None else times.reshape(-1, rule.shown),
    )


def _clips(table: pa.Table, images: ImageSet) -> WholeClips:
    lists = table.column("frames").combine_chunks()
    return WholeClips(
        # Not `values`, which are also those of rows that were cut off.
        _images(lists.flatten(), array_shape(images.shape)),
        np.diff(lists.offsets.to_numpy()),
        table.column("shown").to_numpy(),
        table.column("label").to_numpy() if "label" in table.column_names else None,
    )


def _images(whole: pa.Array, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size = math.prod(shape)
    if not len(whole):
        return np.empty((0, *shape), np.uint8)
    images = np.frombuffer(whole.buffers()[1], np.uint8)
    images = images[whole.offset * size : (whole.offset + len(whole)) * size]
    return images.reshape(-1, *shape)


@ray.remote  # type: ignore[untyped-decorator]
def _join(images: ImageSet, *tables: pa.Table) -> Pixels | WholeClips:
    if images.clips is not None:
        return fill_clips(images, (_clips(table, images) for table in tables))
    return fill(images.count, (_pixels(table, images) for table in tables))
