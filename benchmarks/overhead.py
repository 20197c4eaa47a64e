"""What the whole system costs over the bare step.

Two kinds of run take turns (A/B/A/B): `distgan train --workers 1` on a cluster of its
own, and the same step in a plain loop over the same data in memory, in one process with
as many threads. Both sides drop their warm-up; ratios are of neighbouring pairs.

    python -m benchmarks.overhead --pairs 5
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from distgan import records
from distgan.allocator import keep_freed_memory
from distgan.data.feed import Feed
from distgan.data.images import open_images, read_resident
from distgan.losses import LOSSES
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.state import TrainingState
from distgan.step import Batch, adversarial_step
from distgan.storage import Storage

IMAGES = {"mnist-mlp": 100_096, "mnist-dcgan": 25_600}
"""Images of each run; the first fifth warms up."""


def bare(name: str) -> float:
    """Images/s of the step and nothing else: batches and latents lie ready in memory."""
    config = recipe(name)
    images = open_images(config.data)
    world = World()
    state = TrainingState(config, images.shape, len(images.classes), world)
    feed = Feed(read_resident(images), config, world)
    batches: list[Batch] = [feed.batch(n * config.batch) for n in range(20)]
    steps = IMAGES[name] // config.batch
    start = 0.0
    for step in range(steps):
        if step == steps // 5:
            start = time.perf_counter()
        adversarial_step(
            state.generator, state.discriminator, LOSSES[config.loss], batches[step % 20], False
        )
        state.ema.update(state.generator.network, step * config.batch, config.batch)
    return (steps - steps // 5) * config.batch / (time.perf_counter() - start)


def whole(name: str) -> tuple[float, float]:
    """Images/s of `distgan train --workers 1` as it records them, and share of data wait."""
    every = IMAGES[name] // 10
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        options = ["--workers", "1", "--images", str(IMAGES[name]), "--out", str(run)]
        options += ["--output.log_every", str(every), "--output.sample_every", "20k"]
        command = [sys.executable, "-m", "distgan", "train", name, *options]
        subprocess.run(command, check=True, capture_output=True)
        found = records.read(Storage(run))[2:]
    seconds = sum(every / record["images_per_second"] for record in found)
    wait = statistics.fmean(record["data_wait"] for record in found)
    return every * len(found) / seconds, wait


def _in_a_process(name: str) -> float:
    command = [sys.executable, "-m", "benchmarks.overhead", "--bare", name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="pairs for each recipe [5]")
    parser.add_argument("--json", metavar="FILE", help="every repetition")
    parser.add_argument("--bare", metavar="RECIPE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        torch.set_num_threads(os.cpu_count() or 1)
        keep_freed_memory()
        print(bare(options.bare))
        return
    found: dict[str, list[dict[str, float]]] = {name: [] for name in IMAGES}
    for pair in range(options.pairs):
        for name, pairs in found.items():
            plain, again = _in_a_process(name), _in_a_process(name)
            system, wait = whole(name)
            pairs.append({"bare": plain, "bare again": again, "system": system, "wait": wait})
            print(f"pair {pair + 1} {name}: {pairs[-1]}", file=sys.stderr, flush=True)
    print("recipe        bare img/s  system img/s  system/bare  (spread)      A/A   data wait")
    for name, pairs in found.items():
        ratios = sorted(2 * p["system"] / (p["bare"] + p["bare again"]) for p in pairs)
        median = {key: statistics.median(p[key] for p in pairs) for key in pairs[0]}
        noise = statistics.median(p["bare again"] / p["bare"] for p in pairs)
        print(
            f"{name:<13} {median['bare']:10,.0f}  {median['system']:12,.0f}  "
            f"{statistics.median(ratios):11.3f}  ({ratios[0]:.3f}-{ratios[-1]:.3f}) "
            f"{noise:6.3f}  {median['wait']:9.2%}"
        )
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
