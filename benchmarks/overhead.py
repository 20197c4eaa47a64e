"""What the whole system costs over a plain loop around its step.

Runs live side by side and take turns of a few seconds, the others stopped meanwhile with all
their processes (SIGSTOP): `distgan train --workers 1` on a cluster of its own, `--workers 0` in
one process without Ray, and the same step, in one process with as many threads, in a plain loop
over the same data in memory. The step is measured alone besides, on batches and latents that lie
ready. A machine that changes its speed within minutes treats all alike.

    python -m benchmarks.overhead
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from benchmarks.frame import Benchmark, Comparison, Values, main
from benchmarks.gans import gan_batch, gan_recipe
from distgan.data.feed import scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import ImageSet, open_images
from distgan.data.resident import borrow
from distgan.families import Batch, DataSpec
from distgan.families.gan_config import GANConfig
from distgan.launch.ray.private import VARIABLE
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.runs import records
from distgan.storage.storage import Storage
from distgan.training.state import TrainingState

RECIPES = ("mnist-mlp-tutorial", "mnist-dcgan")


def loop(name: str, run: Path, ready: bool) -> None:
    """The step in a plain loop, for ever: what anybody would write around it.

    Args:
        ready: go round a few batches and latents that lie ready, so that the step is alone.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    keep_freed_memory()
    config = gan_recipe(name)
    images = open_images(config.data)
    state = TrainingState(config, DataSpec(images.shape, images.classes), World())
    batches = _batches(config, images)
    if ready:
        batches = itertools.cycle(list(itertools.islice(batches, 20)))
    # As often as the recipe's own records come.
    steps = config.output.log_every // config.batch
    run.mkdir()
    with (run / "metrics.jsonl").open("w", buffering=1) as log:
        for record in itertools.count(1):
            start = time.perf_counter()
            for batch in itertools.islice(batches, steps):
                state.step([batch])
            speed = steps * config.batch / (time.perf_counter() - start)
            told = {"images": record * steps * config.batch, "images_per_second": speed}
            log.write(json.dumps({**told, "data_wait": 0.0}) + "\n")


def _batches(config: GANConfig, images: ImageSet) -> Iterator[Batch]:
    """All images in float32 in memory, shuffled anew in every epoch, and torch's own latents."""
    pixels = read_resident(images).images
    shape = pixels.shape[1:]
    # One row an image, which torch gathers fastest.
    reals = scale_pixels(borrow(pixels), torch.float32).permute(0, 2, 3, 1).flatten(1)
    while True:
        for rows in torch.randperm(len(reals)).split(config.batch)[:-1]:
            yield gan_batch(
                reals[rows].view(-1, *shape).permute(0, 3, 1, 2),
                discriminator=torch.randn(config.batch, config.latent),
                generator=torch.randn(config.batch, config.latent),
            )


class Run:
    """A run in processes of its own, which works only during its turns."""

    def __init__(
        self,
        command: list[str],
        run: Path,
        folder: tempfile.TemporaryDirectory[str],
        **environment: str,
    ) -> None:
        self._storage, self._folder = Storage(run), folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            while len(self._records()) < 5:
                if self._process.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {self._process.returncode}")
                time.sleep(0.5)
            self._signal(signal.SIGSTOP)
        except BaseException:
            self.end()
            raise

    def turn(self, seconds: float) -> Values:
        """Images/s and share of data wait of one turn, from the records that lie in it."""
        self._signal(signal.SIGCONT)
        before = len(self._records())
        time.sleep(seconds)
        while len(self._records()) < before + 3:
            if self._process.poll() is not None:
                raise RuntimeError(f"a run ended in its turn with {self._process.returncode}")
            time.sleep(0.2)
        self._signal(signal.SIGSTOP)
        # The record in which the pause lies counts for neither turn.
        found = self._records()[before + 1 :]
        wait = statistics.fmean(record["data_wait"] for record in found)
        speeds = [record["images_per_second"] for record in found]
        return {"images/s": statistics.harmonic_mean(speeds), "data wait %": 100 * wait}

    def end(self) -> None:
        """Stop the run for good."""
        self._signal(signal.SIGCONT)
        # Not SIGINT, which a shell has processes in its background ignore.
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def _records(self) -> list[records.Record]:
        return records.read(self._storage)

    def _signal(self, number: signal.Signals) -> None:
        for process in _tree(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(process, number)


def _tree(root: int) -> list[int]:
    """A process and all that descend from it (Linux)."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found = [root]
    for process in found:
        found += [child for child, parent in parents if parent == process]
    return found


def _loop(name: str, ready: bool) -> Run:
    folder = tempfile.TemporaryDirectory()
    run = Path(folder.name) / "loop"
    way = "--ready" if ready else "--loop"
    return Run(["benchmarks.overhead", way, name, str(run)], run, folder)


def _system(name: str, workers: int, public: bool = False) -> Run:
    folder = tempfile.TemporaryDirectory()
    run = Path(folder.name) / "system"
    options = ["--workers", str(workers), "--images", "100M", "--out", str(run)]
    words = ["distgan", "train", name, *options]
    return Run(words, run, folder, **{VARIABLE: str(int(public))})


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """Each recipe."""
    for name in options.recipe or RECIPES[: 1 if options.quick else None]:
        yield Comparison(
            f"{name} through the whole system",
            "images/s",
            {
                "plain loop": partial(_loop, name, False),
                "the step alone": partial(_loop, name, True),
                "distgan train, no Ray": partial(_system, name, 0),
                "distgan train, 1 worker": partial(_system, name, 1),
                "distgan train, 1 worker, documented Ray": partial(_system, name, 1, True),
            },
            about="a worker of as many threads as the plain loop's process",
            warm=0,
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which recipes."""
    parser.add_argument(
        "--recipe", action="append", choices=RECIPES, help="[both; quick the first]"
    )


BENCHMARK = Benchmark(
    "overhead",
    "what the whole system costs over a plain loop",
    compare,
    add_options,
    turns=24,
    seconds=2.5,
    quick=(2, 1.5),
)

if __name__ == "__main__":
    if sys.argv[1:2] in (["--loop"], ["--ready"]):
        loop(sys.argv[2], Path(sys.argv[3]), ready=sys.argv[1] == "--ready")
    main(BENCHMARK)
