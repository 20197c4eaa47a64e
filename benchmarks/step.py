"""How fast every recipe's step is, where its time goes, and what each speed option is worth.

Three kinds of tables. **Where the time goes**: images/s of each recipe, as
`distgan.training.loop` runs its steps, and the share of each part; FLOPs per image, and what share
of the largest matrix product's speed that makes. **Options**: the step with one thing changed,
beside the step as the recipe has it. **Two workers** of one thread each: options of parallel runs,
beside two that do not know of each other and one that has both threads.

Images are random, of the shape of the recipe's set; batches are at most ``--largest-batch``.

    python -m benchmarks.step --quick
    python -m benchmarks.step --recipe mnist-dcgan --part options --compile
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from functools import partial

import torch

from benchmarks.ablation import Variant, alone, parallel_variants, steps, variants
from benchmarks.flops import flops_per_image
from benchmarks.frame import Benchmark, Comparison, Process, Turn, Values, main
from benchmarks.stopwatch import LOGGING, PARTS, watch
from benchmarks.team import Team
from benchmarks.throughput import peak
from benchmarks.training import Training, configure
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families.gan_config import GANConfig
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.recipes.gan import RECIPES

_SMALL = ("mnist-mlp-tutorial", "mnist-dcgan")
_SHARES = [f"{part} %" for part in PARTS]
_PARTS = ("breakdown", "options", "workers")


def breakdown(world: World, config: RunConfig, rate: float) -> Turn:
    """Turns, half of which is timed as a whole, and half in parts.

    Args:
        rate: FLOP/s that this process can reach at most.
    """
    keep_freed_memory()
    training = Training(config, world)
    flops = flops_per_image(training)
    watched = watch(training)

    def turn(seconds: float) -> Values:
        images, passed = training.run(seconds / 2)
        watched.start()
        again, _ = training.run(seconds / 2)
        parts = watched.stop()
        bare, in_parts = passed / images, sum(parts.values()) / again
        # Rare, and so not met in a turn: its share of an image's time.
        images_of_a_record = config.output.log_every / world.size
        parts[LOGGING] += _seconds_of_a_record(training) * again / images_of_a_record
        whole = sum(parts.values())
        return {
            "images/s": images / passed,
            "MFLOP/image": flops / 1e6,
            "% of peak": 100 * flops / bare / rate,
            **{f"{name} %": 100 * taken / whole for name, taken in parts.items()},
            "parts/whole": in_parts / bare,
        }

    return turn


def breakdown_alone(threads: int, config: RunConfig, rate: float) -> Turn:
    """The same in a process by itself."""
    torch.set_num_threads(threads)
    return breakdown(World(), config, rate)


def _seconds_of_a_record(training: Training) -> float:
    batch = training.step()[0]
    start = time.perf_counter()
    training.record(batch)
    return time.perf_counter() - start


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """The tables asked for."""
    parts = options.part or _PARTS
    if "breakdown" in parts:
        yield from _breakdowns(options)
    for name in options.recipe or _SMALL:
        config = configure(name, options.largest_batch)
        # One of them for each is enough where it is to be quick.
        every = options.recipe or not options.quick
        if "options" in parts and (every or name == _SMALL[0]):
            compiled = options.compile or not options.quick
            yield _options(name, config, options.threads, compiled)
        if "workers" in parts and (every or name == _SMALL[-1]):
            yield _workers(name, config)


def _breakdowns(options: argparse.Namespace) -> Iterator[Comparison]:
    threads, largest = options.threads, options.largest_batch
    quick = [name for name in RECIPES if name.startswith("mnist") or name.endswith("-tiny")]
    names = options.recipe or (quick if options.quick else list(RECIPES))
    rate = peak(threads, "float32")
    yield Comparison(
        f"where the time goes, one process of {threads} thread{'s' * (threads > 1)}",
        "images/s",
        {n: partial(Process, breakdown_alone, threads, configure(n, largest), rate) for n in names},
        ratios=False,
        shares=_SHARES,
        about=f"peak {rate / 1e9:,.0f} GFLOP/s; batches of at most {largest} images",
    )
    rate = peak(1, "float32")
    yield Comparison(
        "where the time goes, two workers of one thread",
        "images/s",
        {
            n: partial(Team, 2, True, breakdown, configure(n, largest), rate)
            for n in options.recipe or _SMALL
        },
        ratios=False,
        shares=_SHARES,
        about=f"images/s of both, the rest of the first; peak {rate / 1e9:,.0f} GFLOP/s of each",
    )


def _options(name: str, config: GANConfig, threads: int, compiled: bool) -> Comparison:
    found = {"as it is": Variant(), **variants(config, compiled)}
    return Comparison(
        f"options of {name}",
        "images/s",
        {side: partial(Process, alone, threads, config, v) for side, v in found.items()},
        about=f"one process of {threads} threads, batch {config.batch}",
    )


def _workers(name: str, config: RunConfig) -> Comparison:
    found = {"as it is": Variant(), **parallel_variants(config)}
    half = override(config, {"batch": config.batch // 2})
    return Comparison(
        f"two workers of {name}",
        "images/s",
        {
            **{side: partial(Team, 2, True, steps, config, v) for side, v in found.items()},
            "two strangers": partial(Team, 2, False, steps, half, Variant()),
            "one process, 2 threads": partial(Process, alone, 2, config, Variant()),
        },
        about=f"one thread each, batch {config.batch} over both",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which recipes and tables."""
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="[all]")
    parser.add_argument("--part", action="append", choices=_PARTS, help="of the tables [all]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="[all]")
    parser.add_argument("--compile", action="store_true", help="also under --quick")
    parser.add_argument("--largest-batch", type=int, default=128, help="of any recipe [128]")


BENCHMARK = Benchmark(
    "step",
    "how fast every recipe's step is, where its time goes, what each option is worth",
    compare,
    add_options,
    turns=3,
    quick=(2, 0.6),
)

if __name__ == "__main__":
    main(BENCHMARK)
