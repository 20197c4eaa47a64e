"""How training scales here with workers and networks, and whether the model expects it.

**ranks** are those of a run, one thread each: on this machine's loopback, and as two nodes, in
network namespaces whose link lets only so much through. **the model** is that of `distgan
plan`. It is given what a cycle of updates takes in as many processes that compute what the
ranks do and talk to nobody, with a worker's share of the batch and with twice as much, and how
long plain all-reduces of two sizes take on the same link. Nothing is fitted to the ranks;
their ratio to the model is how far it is off. It is beside itself in the A/A row.

    python -m benchmarks.scale --quick
    python -m benchmarks.scale --recipe mnist-dcgan --link 1Gbit --option compress
    python -m benchmarks.curve bench-results/scale-... --plot scale.html
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks.crew import DATA, Cast, Crew
from benchmarks.frame import Benchmark, Comparison, InPlace, Unavailable, Values, main
from benchmarks.wire import Wire, impossible
from distgan.cli.units import parse_bandwidth
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.plan import TERMS, Link, Network, predict, trace
from distgan.plan.measure import fit
from distgan.recipes import recipe

RECIPES = ("mnist-mlp-tutorial", "mnist-dcgan")
OPTIONS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "compress": {"parallel.compress": True},
    "own batch statistics": {"parallel.sync_batch_norm": False},
}
"""What may be changed about communication."""
LOOPBACK = "loopback"
LINKS = (LOOPBACK, "100Mbit", "1Gbit", "10Gbit")
_QUICK = (LOOPBACK, "1Gbit")
_SMALL, _LARGE, _TRIES = 1 << 10, 1 << 21, 5
"""Bytes of the all-reduces that measure a link."""


class Stage:
    """The processes of one configuration and number of workers, and what they found last."""

    def __init__(self, config: RunConfig, workers: int, wired: bool) -> None:
        self.config, self.workers = config, workers
        self.work = trace(config, DATA)
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.one = self._crew(Cast(config, 1, 1))
        self.apart = self._crew(Cast(config, workers, workers))
        self._ranks = {LOOPBACK: self._crew(Cast(config, workers, workers, folder / "meet"))}
        self._wire: Wire | None = None
        self._reason = impossible() if wired else ""
        if wired and not self._reason:
            self._wire = self._stack.enter_context(Wire())
            cast = Cast(config, workers, workers, folder / "meet-apart", tuple(self._wire.names))
            self._ranks["wire"] = self._crew(cast)
        self.alone = 0.0

    def _crew(self, cast: Cast) -> Crew:
        crew = Crew(cast)
        self._stack.callback(crew.end)
        return crew

    def ranks(self, link: str) -> Crew:
        """The ranks that are connected so."""
        if link == LOOPBACK:
            return self._ranks[LOOPBACK]
        if self._wire is None:
            raise Unavailable(f"no network of two nodes can be made here: {self._reason}")
        self._wire.limit(8 * parse_bandwidth(link))
        return self._ranks["wire"]

    def end(self) -> None:
        """End all processes, and take their network down."""
        self._stack.close()

    def model_turn(self, link: str, share: int, seconds: float) -> Values:
        """What the model expects, from what is measured in this turn."""
        times = {n: self.apart.cycles(n, seconds) for n in (share, 2 * share)}
        each = {n: list(chain.from_iterable(found)) for n, found in times.items()}
        compute = fit(each, self.apart.after())
        wire, busy = probe(self.ranks(link), self.workers)
        network, batch = Network(wire, wire, busy), share * self.workers
        expected = predict(self.work, compute, network, batch, self.workers, self.workers)
        return {
            "images/s": expected.images_per_second,
            "apart images/s": self._rate(times[share], share),
            "fixed ms": 1e3 * compute.fixed,
            "ms/image": 1e3 * compute.per_image,
            "after ms": 1e3 * compute.after,
            "deviation %": 100 * compute.deviation,
            "Mbit/s": wire.bandwidth * 8e-6,
            "latency us": 1e6 * wire.latency,
            "busy %": 100 * busy,
            **{f"{name} %": 100 * s / expected.seconds for name, s in expected.terms.items()},
        }

    def one_turn(self, seconds: float) -> Values:
        """One process with the whole batch of the recipe."""
        self.alone = self._rate(self.one.cycles(self.config.batch, seconds), self.config.batch)
        return {"images/s": self.alone}

    def ranks_turn(self, link: str, share: int, seconds: float) -> Values:
        """The run itself."""
        speed = self._rate(self.ranks(link).cycles(share, seconds), share)
        return {"images/s": speed, "efficiency %": 100 * speed / self.alone / self.workers}

    def _rate(self, cycles: list[list[float]], share: int) -> float:
        # Images a second of all processes, whose slowest decides each cycle.
        seconds = statistics.mean(map(max, zip(*cycles, strict=True)))
        return len(cycles) * self.work.batches * share / seconds


def probe(ranks: Crew, workers: int) -> tuple[Link, float]:
    """The link as plain all-reduces find it, and how busy the largest keep a processor."""
    for _ in range(_TRIES):
        medians = []
        for size, count in ((_SMALL, 20), (_LARGE, 5)):
            ranks.all_reduce(size, 2)
            times, busy = ranks.all_reduce(size, count)
            medians.append(statistics.median(times))
        # A machine that stands still for a moment may make the small ones the slower.
        if medians[1] > medians[0]:
            break
    else:
        raise Unavailable("small messages took longer than large ones, time and again")
    # 2 (n - 1) / n bytes travel for each, in 2 (n - 1) messages.
    messages, (short, long) = 2 * (workers - 1), medians
    bandwidth = messages / workers * (_LARGE - _SMALL) / (long - short)
    return Link(bandwidth, short / messages), min(busy, 0.95)


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """A comparison for every recipe, option, link, number of workers and mode."""
    for name in options.recipe or RECIPES:
        for option in options.option or (("as it is",) if options.quick else OPTIONS):
            config = override(recipe(name), OPTIONS[option])
            if option != "as it is" and _same(config, recipe(name)):
                continue
            for workers in range(2, options.workers + 1):
                every = options.link or (_QUICK if options.quick else LINKS)
                links = [x for x in every if workers == 2 or x == LOOPBACK]
                title = f"{name}, {option}"
                yield from _compare(title, config, workers, links, options.quick)


def _same(config: RunConfig, plain: RunConfig) -> bool:
    # Without batch statistics it is no option whose they are.
    works = (trace(c, DATA) for c in (config, plain))
    return len({tuple(work.updates) for work in works}) == 1


def _compare(
    title: str, config: RunConfig, workers: int, links: list[str], quick: bool
) -> Iterator[Comparison]:
    stage: Stage | None = None

    def the_stage() -> Stage:
        # Started with the first comparison that is measured: others may be complete already.
        nonlocal stage
        stage = stage or Stage(config, workers, links != [LOOPBACK])
        return stage

    share = config.batch // workers
    try:
        for link in links:
            # Two are what all have.
            more = f", {workers} workers" if workers > 2 else ""
            yield _comparison(f"{title}, {link}, strong{more}", the_stage, link, share)
            if not quick and title.endswith("as it is"):
                yield _comparison(f"{title}, {link}, weak{more}", the_stage, link, config.batch)
    finally:
        if stage is not None:
            stage.end()


def _comparison(name: str, stage: Callable[[], Stage], link: str, share: int) -> Comparison:
    def side(turn: Callable[[Stage, float], Values]) -> Callable[[], InPlace]:
        return lambda: InPlace(partial(turn, stage()))

    return Comparison(
        name,
        "images/s",
        {
            "the model": side(lambda s, seconds: s.model_turn(link, share, seconds)),
            "one process": side(lambda s, seconds: s.one_turn(seconds)),
            "ranks": side(lambda s, seconds: s.ranks_turn(link, share, seconds)),
        },
        about=f"{share} images for each of the ranks in a batch",
        shares=[f"{term} %" for term in TERMS],
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which of all that."""
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="[all]")
    parser.add_argument("--option", action="append", choices=OPTIONS, help="[all]")
    parser.add_argument(
        "--link", action="append", metavar="RATE", help=f"such as 5Gbit [{', '.join(LINKS)}]"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="at most [2]")


BENCHMARK = Benchmark(
    "scale",
    "how training scales with workers and networks, beside what the model expects",
    compare,
    add_options,
    turns=3,
    seconds=1.5,
    quick=(2, 0.7),
)

if __name__ == "__main__":
    main(BENCHMARK)
