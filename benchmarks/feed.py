"""How fast images reach a worker, and what memory that takes.

Every side delivers shuffled batches of 128 as float32 in [-1, 1] to one process, and they
take turns within one run. Each first uses up, untimed, what it had prepared while others had
their turn. Epochs go on from turn to turn, and their starts are included.

    tensor        a shuffled index into a uint8 tensor in memory: the speed limit
    resident      distgan's resident way, from Ray's shared memory
    streaming     distgan's streaming way, read and decoded by Ray Data
    threads       the same, read and decoded by threads, as --workers 0 does
    loader 0, 2   torch's DataLoader over that tensor, with 0 and with 2 workers
    ray data      Ray Data's iter_torch_batches with a shuffle buffer of 10,000

    python -m benchmarks.feed --data mnist --data my/cifar10
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.frame import Benchmark, Comparison, InPlace, Values, main
from benchmarks.frame.noise import wait_until_quiet
from distgan.launch.ray.environment import prepare_own_cluster

prepare_own_cluster()

import ray  # noqa: E402
import ray.data  # noqa: E402

from distgan.config.run import RunConfig  # noqa: E402
from distgan.config.settings import override  # noqa: E402
from distgan.data.damage import Damage  # noqa: E402
from distgan.data.feed import SampleSource, scale_pixels  # noqa: E402
from distgan.data.fragments import read_in_order, read_resident  # noqa: E402
from distgan.data.images import ImageSet, open_images  # noqa: E402
from distgan.data.pixels import Pixels, decode  # noqa: E402
from distgan.data.rows import open_rows  # noqa: E402
from distgan.launch.ray.reader import read_on_ray, read_resident_on_ray  # noqa: E402
from distgan.parallel import World  # noqa: E402
from distgan.recipes import recipe  # noqa: E402

BATCH = 128
WINDOW = 16_384
_SHUFFLE_BUFFER = 10_000
_PATIENCE = 10.0


def _scale(images: Tensor) -> Tensor:
    return scale_pixels(images, torch.float32)


def _tensor(images: Tensor) -> Iterator[Tensor]:
    rows = images.flatten(1)
    while True:
        order = torch.randperm(len(images))
        for numbers in order[: len(order) // BATCH * BATCH].split(BATCH):
            yield _scale(rows.index_select(0, numbers).view(-1, *images.shape[1:]))


def _loader(images: Tensor, workers: int) -> Iterator[Tensor]:
    loader = DataLoader(
        TensorDataset(images),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        for (batch,) in loader:
            yield _scale(batch)


def _ray_data(images: ImageSet) -> Iterator[Tensor]:
    def pixels(table: Any) -> dict[str, np.ndarray[Any, Any]]:
        rows = slice(0, len(table))
        return {"image": decode(table, rows, images.shape, 0, source="").images}

    files = list(images.files)
    data = ray.data.read_parquet(files, filesystem=images.filesystem).select_columns(["image"])
    data = data.map_batches(pixels, batch_format="pyarrow", batch_size=None)
    while True:
        for batch in data.iter_torch_batches(
            batch_size=BATCH, local_shuffle_buffer_size=_SHUFFLE_BUFFER, drop_last=True
        ):
            yield _scale(batch["image"])


def _config(data: str, way: str) -> RunConfig:
    feed = {"feed.way": way, "feed.window": WINDOW if way == "streaming" else 0}
    changes = {"data": data, "batch": BATCH, "images": 10**12, **feed}
    return override(recipe("mnist-mlp-tutorial"), changes)


def _rows(images: ImageSet, data: str, way: str, resident: Any, on_ray: bool) -> SampleSource:
    return open_rows(
        _config(data, way),
        images,
        World(),
        resident=lambda: Pixels(*ray.get(resident)),
        reader=lambda f: (
            read_on_ray(images, f, False, False) if on_ray else read_in_order(images, f, False)
        ),
        damage=Damage(images, 0),
    )


def _ours(rows: SampleSource) -> Iterator[Tensor]:
    seen = 0
    while True:
        yield _scale(rows.batch(seen)[0])
        seen += BATCH


class _Reader:
    """A side: batches as they come."""

    def __init__(self, start: Callable[[], Iterator[Tensor]]) -> None:
        self._batches = start()
        next(self._batches)

    def turn(self, seconds: float) -> Values:
        """Images/s, after as long a time that empties what lay ready."""
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            next(self._batches)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            count += len(next(self._batches))
        found = count / (time.perf_counter() - start)
        # What reads ahead goes on until its buffers are full; the next has the machine alone.
        wait_until_quiet(_PATIENCE)
        return {"images/s": found}

    def end(self) -> None:
        """Let go of the data and what reads it."""
        del self._batches
        gc.collect()


def _speeds(data: str) -> Comparison:
    images = open_images(data)
    resident = read_resident_on_ray(images, False, False)
    tensor = torch.from_numpy(read_resident(images).images)
    sides: dict[str, Callable[[], Iterator[Tensor]]] = {
        "tensor": lambda: _tensor(tensor),
        "resident": lambda: _ours(_rows(images, data, "resident", resident, True)),
        "streaming": lambda: _ours(_rows(images, data, "streaming", None, True)),
        "threads": lambda: _ours(_rows(images, data, "streaming", None, False)),
        "loader 0": lambda: _loader(tensor, 0),
        "loader 2": lambda: _loader(tensor, 2),
        "ray data": lambda: _ray_data(images),
    }
    return Comparison(
        f"images of {data} to one process",
        "images/s",
        {name: partial(_Reader, start) for name, start in sides.items()},
        about=f"batches of {BATCH}, shuffled, scaled",
    )


@ray.remote(num_cpus=0)
class _Worker:
    """A process that feeds itself and looks at its own memory."""

    def feed(self, data: str, way: str, resident: list[Any]) -> dict[str, float]:
        before = _memory()
        images = open_images(data)
        rows = _rows(images, data, way, resident[0], True)
        for seen in range(0, 2 * images.count, BATCH):
            rows.batch(seen)
        after = _memory()
        rows.close()
        return {key: after[key] - before[key] for key in after}


def _memory() -> dict[str, float]:
    """Megabytes of this process: its own, and those of memory that others map too."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    own = kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]
    return {"own": own / 1024, "mapped": kilobytes["Rss"] / 1024 - own / 1024}


def _growth(data: str, way: str, count: int, _: float) -> Values:
    """How much each of ``count`` processes grows while it feeds itself two epochs."""
    resident = read_resident_on_ray(open_images(data), False, False)
    workers = [_Worker.remote() for _ in range(count)]  # type: ignore[attr-defined]
    grown = ray.get([worker.feed.remote(data, way, [resident]) for worker in workers])
    for worker in workers:
        ray.kill(worker)
    return {
        "MB of its own": statistics.fmean(found["own"] for found in grown),
        "MB shared": statistics.fmean(found["mapped"] for found in grown),
    }


def _memory_of(data: str) -> Comparison:
    def side(way: str, count: int) -> Callable[[], InPlace]:
        return lambda: InPlace(partial(_growth, data, way, count))

    return Comparison(
        f"growth of a process that is fed {data}",
        "MB of its own",
        {
            f"{way}, {count} worker{'s' * (count > 1)}": side(way, count)
            for way in ("resident", "streaming")
            for count in (1, 2)
        },
        ratios=False,
        about="two epochs; shared is memory that other processes map too",
        turns=1,
        warm=0,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Sets."""
    parser.add_argument("--data", action="append", help="a set, more than once for more [mnist]")


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """Speeds, and unless it is to be quick memory, of each set."""
    ray.init(
        address="local",
        num_cpus=os.cpu_count(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        for data in options.data or ["mnist"]:
            yield _speeds(data)
            if not options.quick:
                yield _memory_of(data)
    finally:
        ray.shutdown()


BENCHMARK = Benchmark(
    "feed",
    "how fast images reach a worker, beside torch's and Ray Data's loaders",
    compare,
    add_options,
    turns=6,
    seconds=2.0,
    quick=(3, 0.4),
)

if __name__ == "__main__":
    main(BENCHMARK)
