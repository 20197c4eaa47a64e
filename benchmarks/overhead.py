"""What the whole system costs over the bare step.

Two runs live side by side and take turns of a few seconds, the other one stopped
meanwhile with all its processes (SIGSTOP): `distgan train --workers 1` on a cluster of its
own, and the same step in a plain loop over the same data in memory, in one process with as
many threads. A machine that changes its speed within minutes then treats both alike.

    python -m benchmarks.overhead --turns 20
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from distgan import records
from distgan.allocator import keep_freed_memory
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.state import TrainingState
from distgan.step import Batch
from distgan.storage import Storage

RECIPES = ("mnist-mlp", "mnist-dcgan")


def bare(name: str, run: Path) -> None:
    """The step and nothing else, for ever: batches and latents lie ready in memory."""
    torch.set_num_threads(os.cpu_count() or 1)
    keep_freed_memory()
    config = recipe(name)
    images = open_images(config.data)
    world = World()
    state = TrainingState(config, images.shape, len(images.classes), world)
    rows = Resident(read_resident(images), config.seed, config.batch, world, Damage(images, 0))
    feed = Feed(rows, config, images.shape, world)
    batches: list[Batch] = [feed.batch(n * config.batch) for n in range(20)]
    # As often as the recipe's own records come.
    steps = config.output.log_every // config.batch
    run.mkdir()
    with (run / "metrics.jsonl").open("w", buffering=1) as log:
        step = 0
        while True:
            start = time.perf_counter()
            for _ in range(steps):
                state.step([batches[step % len(batches)]])
                step += 1
            speed = steps * config.batch / (time.perf_counter() - start)
            log.write(json.dumps({"images_per_second": speed, "data_wait": 0.0}) + "\n")


class Run:
    """A run in processes of its own, which works only during its turns."""

    def __init__(self, command: list[str], run: Path) -> None:
        self._storage, self._seen = Storage(run), 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=subprocess.DEVNULL, start_new_session=True
        )
        while len(self._records()) < 5:
            if self._process.poll() is not None:
                raise SystemExit(f"{' '.join(command)} ended with {self._process.returncode}")
            time.sleep(0.5)
        self._signal(signal.SIGSTOP)

    def turn(self, seconds: float) -> dict[str, float]:
        """Images/s and share of data wait of one turn, from the records that lie in it."""
        self._signal(signal.SIGCONT)
        before = len(self._records())
        time.sleep(seconds)
        while len(self._records()) < before + 3:
            time.sleep(0.2)
        self._signal(signal.SIGSTOP)
        # The record in which the pause lies counts for neither turn.
        found = self._records()[before + 1 :]
        wait = statistics.fmean(record["data_wait"] for record in found)
        return {
            "speed": statistics.harmonic_mean([r["images_per_second"] for r in found]),
            "wait": wait,
        }

    def end(self) -> None:
        """Stop the run for good."""
        self._signal(signal.SIGCONT)
        # Not SIGINT, which a shell has processes in its background ignore.
        self._process.terminate()
        self._process.wait()

    def _records(self) -> list[records.Record]:
        return records.read(self._storage)

    def _signal(self, number: signal.Signals) -> None:
        for process in _tree(self._process.pid):
            os.kill(process, number)


def _tree(root: int) -> list[int]:
    """A process and all that descend from it (Linux)."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found = [root]
    for process in found:
        found += [child for child, parent in parents if parent == process]
    return found


@contextmanager
def _runs(name: str) -> Iterator[tuple[Run, Run]]:
    with tempfile.TemporaryDirectory() as folder:
        plain, system = Path(folder) / "bare", Path(folder) / "system"
        options = ["--workers", "1", "--images", "100M", "--out", str(system)]
        first = Run(["benchmarks.overhead", "--bare", name, str(plain)], plain)
        second = Run(["distgan", "train", name, *options], system)
        try:
            yield first, second
        finally:
            first.end()
            second.end()


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES, help="[mnist-mlp mnist-dcgan]")
    parser.add_argument("--turns", type=int, default=20, help="turns of each side [20]")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a turn [6]")
    parser.add_argument("--json", metavar="FILE", help="every turn")
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare(options.bare[0], Path(options.bare[1]))
        return
    found: dict[str, list[dict[str, dict[str, float]]]] = {}
    print("recipe        bare img/s  system img/s  system/bare  (quartiles)    A/A   data wait")
    for name in options.recipes:
        with _runs(name) as (plain, system):
            sides = {"bare": plain, "system": system, "again": plain}
            found[name] = [
                {side: run.turn(options.seconds) for side, run in sides.items()}
                for _ in range(options.turns)
            ]
        turns = found[name]
        ratios = [
            2 * t["system"]["speed"] / (t["bare"]["speed"] + t["again"]["speed"]) for t in turns
        ]
        low, middle, high = statistics.quantiles(ratios, n=4)
        speed = {side: statistics.median(t[side]["speed"] for t in turns) for side in sides}
        noise = statistics.median(t["again"]["speed"] / t["bare"]["speed"] for t in turns)
        wait = statistics.median(t["system"]["wait"] for t in turns)
        print(
            f"{name:<13} {speed['bare']:10,.0f}  {speed['system']:12,.0f}  {middle:11.3f}  "
            f"({low:.3f}-{high:.3f}) {noise:6.3f}  {wait:9.2%}",
            flush=True,
        )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
