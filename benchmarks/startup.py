"""Seconds from the command to the first update, and where they go.

Every turn is a whole command, in a process of its own. ``distgan train`` trains on one batch;
when it came how far is read from the times of the files that it leaves:

    command      until the run's folder has its configuration: Python, imports, checks
    networks     until the first grid of samples: Ray, workers, data, networks
    update       until the first record
    end          until the process is gone: checkpoint, result, Ray's end

    python -m benchmarks.startup --quick
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.frame import Benchmark, Comparison, InPlace, Values, main
from distgan.launch.ray.private import VARIABLE, usable
from distgan.runs.folder import CONFIG
from distgan.runs.records import METRICS

_BATCH = 128
_PUBLIC = ", documented Ray"
_RAY = """
from distgan.launch.ray.environment import prepare_own_cluster
prepare_own_cluster()
import ray
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.shutdown()
"""
_COMMANDS = {
    "python, nothing": ["-c", "pass"],
    "distgan --help": ["-m", "distgan", "--help"],
    "import torch": ["-c", "import torch"],
    "import ray": ["-c", "import ray"],
    "distgan show mnist-mlp": ["-m", "distgan", "show", "mnist-mlp"],
    "Ray, begun and ended": ["-c", _RAY],
}


def _run(words: list[str], folder: str, **environment: str) -> float:
    """Seconds of a Python command, which must succeed."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    # A cluster that is there already would not have to be started.
    kept = {n: v for n, v in os.environ.items() if n != "RAY_ADDRESS"}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return time.perf_counter() - start


def _command(words: list[str], _: float) -> Values:
    with tempfile.TemporaryDirectory() as folder:
        return {"seconds": _run(words, folder)}


def _train(recipe: str, workers: int, public: bool, _: float) -> Values:
    options = ["--images", str(_BATCH), "--batch", str(_BATCH), "--output.log_every", str(_BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        words = ["train", recipe, "--workers", str(workers), *options, "--out", "run"]
        whole = _run(["-m", "distgan", *words], folder, **{VARIABLE: str(int(public))})
        run = Path(folder) / "run"
        marks = [run / CONFIG, run / "samples" / f"images-{0:012d}.png", run / METRICS]
        times = [began, *(mark.stat().st_mtime for mark in marks), began + whole]
    names = ("command", "networks", "update", "end")
    parts = {name: b - a for name, a, b in zip(names, times, times[1:], strict=False)}
    return {"seconds": times[3] - began, **parts}


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """What commands cost that train nothing, then training without and with Ray."""
    yield Comparison(
        "commands",
        "seconds",
        {name: _side(partial(_command, words)) for name, words in _COMMANDS.items()},
        about="from start to end",
        warm=0,
    )
    recipe = options.recipe
    yield Comparison(
        f"distgan train {recipe}",
        "seconds",
        {
            f"--workers {count}{_PUBLIC * public}": _side(partial(_train, recipe, count, public))
            for count in options.workers or (0, 1, 2)[: 2 if options.quick else None]
            # By Ray's documented interface, too, where there is a choice.
            for public in ((False, True) if count and usable() else (False,))
        },
        about=f"to the first update, on {_BATCH} images",
        warm=0,
    )


def _side(work: Callable[[float], Values]) -> Callable[[], InPlace]:
    return lambda: InPlace(work)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What to train, on how many workers."""
    parser.add_argument("--recipe", default="mnist-mlp", help="[mnist-mlp]")
    parser.add_argument("--workers", action="append", type=int, help="[0, 1 and 2; quick 0 and 1]")


BENCHMARK = Benchmark(
    "startup",
    "seconds from the command to the first update, and where they go",
    compare,
    add_options,
    turns=5,
    quick=(1, 1.0),
)

if __name__ == "__main__":
    main(BENCHMARK)
