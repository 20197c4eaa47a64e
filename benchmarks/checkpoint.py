"""How long training stands still for a checkpoint: written at once, and beside the training.

Each side trains a recipe's own networks between its checkpoints. ``at once`` stands still until
the file is whole; ``beside`` hands a copy to `distgan.runs.checkpoint.Writer`, and its turn ends
when that has written: ``slowed`` is what the steps meanwhile took longer than as many before.

    python -m benchmarks.checkpoint --turns 15
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from benchmarks.frame import Benchmark, Comparison, Process, Turn, Values, main
from benchmarks.training import Training
from distgan.parallel.allocator import keep_freed_memory
from distgan.recipes import recipe
from distgan.runs import checkpoint
from distgan.storage.storage import Storage

STEPS = {"mnist-mlp-tutorial": 60, "mnist-dcgan": 6}
"""Between two checkpoints: more than a checkpoint takes to write."""


def _trained(name: str, threads: int) -> Training:
    torch.set_num_threads(threads)
    keep_freed_memory()
    training = Training(recipe(name))
    _steps(training, name)
    return training


def _steps(training: Training, name: str) -> float:
    # Milliseconds.
    start = time.perf_counter()
    for _ in range(STEPS[name]):
        training.step()
    return 1e3 * (time.perf_counter() - start)


def at_once(name: str, threads: int) -> Turn:
    """Turns that write a checkpoint."""
    training = _trained(name, threads)

    def turn(_: float) -> Values:
        _steps(training, name)
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            checkpoint.save(Storage(folder), training.state.state_dict(), keep=2)
            passed = 1e3 * (time.perf_counter() - start)
            size = _megabytes(folder)
        return {"ms": passed, "slowed, ms": 0.0, "MB": size}

    return turn


def beside(name: str, threads: int) -> Turn:
    """Turns that have one written, and train meanwhile."""
    training = _trained(name, threads)

    def turn(_: float) -> Values:
        alone = _steps(training, name)
        with tempfile.TemporaryDirectory() as folder:
            with checkpoint.Writer(Storage(folder), keep=2) as writer:
                start = time.perf_counter()
                writer.save(training.state.state_dict())
                stood = 1e3 * (time.perf_counter() - start)
                busy = _steps(training, name)
                writer.wait()
            size = _megabytes(folder)
        return {"ms": stood, "slowed, ms": busy - alone, "MB": size}

    return turn


def _megabytes(folder: str) -> float:
    name: str = checkpoint.index(Storage(folder))[-1]["file"]
    return (Path(folder) / name).stat().st_size / 1e6


def add_options(parser: argparse.ArgumentParser) -> None:
    """Threads."""
    parser.add_argument("--threads", type=int, default=2, help="of torch [2]")


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """Both recipes, the first under ``--quick``."""
    for name in list(STEPS)[: 1 if options.quick else None]:
        yield Comparison(
            f"a checkpoint of {name}",
            "ms",
            {
                "at once": partial(Process, at_once, name, options.threads),
                "beside": partial(Process, beside, name, options.threads),
            },
            about="milliseconds that training stands still",
        )


BENCHMARK = Benchmark(
    "checkpoint",
    "how long training stands still for a checkpoint",
    compare,
    add_options,
    turns=15,
    quick=(2, 1.0),
)

if __name__ == "__main__":
    main(BENCHMARK)
