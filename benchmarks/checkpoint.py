"""How long training stands still for a checkpoint: written at once, and beside the training.

Steps of a recipe's own networks go on between checkpoints; every second one is written at
once, and the others by `distgan.checkpoint.Writer`, for which training waits for the copy
alone. ``slowed`` is what the steps took longer while it wrote, over all of them.

    python -m benchmarks.checkpoint --turns 15
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from distgan import checkpoint
from distgan.allocator import keep_freed_memory
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.state import TrainingState
from distgan.storage import Storage

STEPS = {"mnist-mlp": 60, "mnist-dcgan": 6}
"""Between two checkpoints: more than a checkpoint takes to write."""


class Trained:
    """A recipe with a batch that is there already."""

    def __init__(self, name: str) -> None:
        config = recipe(name)
        images, world = open_images(config.data), World()
        self.state = TrainingState(config, images.shape, len(images.classes), world)
        rows = Resident(read_resident(images), config.seed, config.batch, world, Damage(images, 0))
        self._batch = Feed(rows, config, images.shape, world).batch(0)

    def steps(self, count: int) -> float:
        """Seconds."""
        start = time.perf_counter()
        for _ in range(count):
            self.state.step([self._batch])
        return time.perf_counter() - start


def measure(name: str, turns: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of each turn, and the checkpoint's size in MB."""
    trained, storage = Trained(name), Storage(folder)
    trained.steps(STEPS[name])
    found: dict[str, list[float]] = {"at once": [], "beside": [], "slowed": [], "written": []}
    with checkpoint.Writer(storage, keep=2) as writer:
        for _ in range(turns):
            start = time.perf_counter()
            checkpoint.save(storage, trained.state.state_dict(), keep=2)
            found["at once"].append(1e3 * (time.perf_counter() - start))
            alone = trained.steps(STEPS[name])

            start = time.perf_counter()
            writer.save(trained.state.state_dict())
            found["beside"].append(1e3 * (time.perf_counter() - start))
            start = time.perf_counter()
            busy = trained.steps(STEPS[name])
            writer.wait()
            found["written"].append(1e3 * (time.perf_counter() - start))
            found["slowed"].append(1e3 * (busy - alone))
    file = folder / checkpoint.index(storage)[-1]["file"]
    found["MB"] = [file.stat().st_size / 1e6]
    return found


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=15, help="checkpoints of each kind [15]")
    parser.add_argument("--threads", type=int, default=2, help="of torch [2]")
    parser.add_argument("--json", metavar="FILE", help="every turn")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    everything = {}
    print("recipe          MB    at once, ms (quartiles)    beside, ms (quartiles)    slowed, ms")
    for name in STEPS:
        with tempfile.TemporaryDirectory() as folder:
            found = everything[name] = measure(name, options.turns, Path(folder))
        shown = []
        for side in ("at once", "beside"):
            low, middle, high = statistics.quantiles(found[side], n=4)
            shown.append(f"{middle:9.1f} ({low:.1f}-{high:.1f})")
        slowed = statistics.median(found["slowed"])
        print(f"{name:<12}{found['MB'][0]:6.1f}{shown[0]:>27}{shown[1]:>26}{slowed:14.0f}")
    if options.json:
        Path(options.json).write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
