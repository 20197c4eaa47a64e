"""Training on a set larger than the memory it may take.

Makes a set of about a gigabyte of decoded pixels by repeating another, starts Ray with an
object store of 200 MB, trains one epoch of it by streaming, and reports, from samples
taken all the while, the most memory that the object store, the workers and the decoding
tasks held.

    python -m benchmarks.beyond_memory my/cifar10
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distgan.data.fragments import read_resident
from distgan.data.images import open_images, pixel_schema
from distgan.launch.ray.environment import prepare_own_cluster

prepare_own_cluster()

import ray  # noqa: E402

import distgan  # noqa: E402
from distgan.runs import records  # noqa: E402
from distgan.storage.storage import Storage  # noqa: E402

_STORE = 200_000_000
_ROWS = 1024


def enlarge(source: str, folder: Path, size: int) -> str:
    """A set of at least ``size`` bytes of pixels, made by repeating another."""
    images = open_images(source)
    pixels = read_resident(images)
    schema = pixel_schema(images.shape)
    labels = np.zeros(images.count) if pixels.labels is None else pixels.labels
    cells = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(images.image_bytes), images.count, [None, pa.py_buffer(pixels.images)]
    )
    table = pa.table({"image": cells, "label": pa.array(labels, pa.int32())}, schema=schema)
    for number in range(-(-size // images.bytes)):
        pq.write_table(
            table,
            folder / f"part-{number:03d}.parquet",
            row_group_size=_ROWS,
            compression="zstd",
            use_dictionary=False,
        )
    return str(folder)


class HealthTracker(threading.Thread):
    """Samples memory until told to stop; keeps the largest of each, in megabytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: dict[str, float] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Take a sample a second."""
        while not self._over.wait(1.0):
            self._keep("object store", _store_megabytes())
            self._keep("objects spilled to disk", _spilled_megabytes())
            sums: dict[str, float] = {}
            for name, megabytes in _processes():
                sums[name] = sums.get(name, 0) + megabytes
            for name, megabytes in sums.items():
                self._keep(name, megabytes)

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join()

    def _keep(self, name: str, megabytes: float) -> None:
        self.most[name] = max(self.most.get(name, 0.0), megabytes)


def _store_megabytes() -> float:
    free = ray.available_resources().get("object_store_memory", 0.0)
    return float(ray.cluster_resources()["object_store_memory"] - free) / 1e6


def _spilled_megabytes() -> float:
    context = ray.get_runtime_context()
    folder = Path(context.get_temp_dir()) / context.get_session_name()
    files = [f for spill in folder.glob("ray_spilled_objects*") for f in spill.iterdir()]
    return sum(f.stat().st_size for f in files) / 1e6


def _processes() -> list[tuple[str, float]]:
    """Private megabytes of each training worker and each decoding task."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_text().split("\0")[0]
            lines = (folder / "smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        name = "workers" if "RayTrainWorker" in title else "tasks" if "_read" in title else ""
        if name:
            private = sum(int(line.split()[1]) for line in lines if line.startswith("Private"))
            found.append((name, private * 1024 / 1e6))
    return found


def main() -> None:
    """Make the set, train an epoch of it, print the figures."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("source", metavar="SET", help="what to repeat")
    parser.add_argument("--megabytes", type=int, default=1000, help="of decoded pixels [1000]")
    parser.add_argument("--window", type=int, default=16_384, help="images [16384]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = enlarge(options.source, Path(folder), options.megabytes * 1_000_000)
        images = open_images(data)
        ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=_STORE,
        )
        watch = HealthTracker()
        watch.start()
        changes = {
            "data": data,
            "images": images.count,
            "feed.way": "streaming",
            "feed.window": options.window,
        }
        config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), changes)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as run:
            distgan.train(config, out=f"{run}/run")
            waits = [record["data_wait"] for record in records.read(Storage(f"{run}/run"))]
        seconds = time.perf_counter() - start
        watch.stop()
        ray.shutdown()
    print(f"{images.bytes / 1e6:,.0f} MB of pixels in {images.count:,} images, {seconds:.0f} s")
    print(f"share of time waiting for data, mean: {np.mean(waits):.2%}")
    for name, megabytes in watch.most.items():
        bound = f" of {_STORE / 1e6:.0f}" if name == "object store" else ""
        print(f"most memory of the {name}: {megabytes:,.0f} MB{bound}")


if __name__ == "__main__":
    main()
