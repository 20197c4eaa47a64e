"""How training scales with workers and networks here, and whether the model expects it.

Sides take turns in every round: one process; as many as there are workers that compute what
ranks do but talk to nobody, which shows what the machine itself loses (twice: the A/A row);
and ranks of a run, on this machine's loopback and between network namespaces whose link is
limited. The model of `distgan plan` is given what a cycle takes for those that talk to nobody,
with one worker's share of the batch and with twice as much, and how long plain all-reduces
take on the same link, and predicts the ranks. Nothing is fitted to what is predicted.

    python -m benchmarks.scale --json scale.json --plot scale.html
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import describe
from benchmarks.team import CLASSES, IMAGE, Cast, Team
from benchmarks.wire import Wire, possible
from distgan.config import Config
from distgan.plan import Compute, Link, Network, Work, predict, trace
from distgan.plan.measure import fit
from distgan.recipes import recipe
from distgan.settings import override

RECIPES = ("mnist-mlp", "mnist-dcgan")
OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "compress": {"parallel.compress": True},
    "own batch statistics": {"parallel.sync_batch_norm": False},
}
"""What may be changed about communication."""
LIMITS = {"100 Mbit/s": 1e8, "1 Gbit/s": 1e9, "10 Gbit/s": 1e10}
"""Of the link between two namespaces."""
LOOPBACK = "loopback"
_SMALL, _MIDDLE, _LARGE = 1 << 10, 1 << 18, 1 << 21
"""Bytes of the all-reduces that measure a link."""


@dataclass
class Row:
    """Ranks on a network, with what was expected of them: a value for each round.

    ``measured``, ``predicted``, ``one`` and ``apart`` are images a second of all processes
    together, ``again`` those of ``apart`` once more. ``bandwidth`` is bytes a second and
    ``latency`` seconds, as all-reduces of the round found them.
    """

    recipe: str
    option: str
    network: str
    workers: int
    mode: str
    measured: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    one: list[float] = field(default_factory=list)
    apart: list[float] = field(default_factory=list)
    again: list[float] = field(default_factory=list)
    bandwidth: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)

    def quartiles(self, over: str, under: str, times: float = 1.0) -> tuple[float, float, float]:
        """Median, first and third quartile of the ratio of two of these, round by round."""
        pairs = [
            a / b / times for a, b in zip(getattr(self, over), getattr(self, under), strict=True)
        ]
        low, middle, high = statistics.quantiles(pairs, n=4) if len(pairs) > 1 else pairs * 3
        return middle, low, high


class Stage:
    """The teams of one configuration and number of workers."""

    def __init__(self, config: Config, workers: int, folder: Path, wire: Wire | None) -> None:
        self.config, self.workers, self.wire = config, workers, wire
        self.work = trace(config, IMAGE, CLASSES)
        self.one = Team(Cast(config, 1, 1))
        self.apart = Team(Cast(config, workers, workers))
        self.ranks = {LOOPBACK: Team(Cast(config, workers, workers, folder / "meet"))}
        if wire is not None:
            cast = Cast(config, workers, workers, folder / "meet-apart", tuple(wire.names))
            self.ranks["wire"] = Team(cast)

    def on(self, network: str) -> Team:
        """The ranks that are connected so."""
        if network == LOOPBACK:
            return self.ranks[LOOPBACK]
        assert self.wire is not None
        self.wire.limit(LIMITS[network])
        return self.ranks["wire"]

    def end(self) -> None:
        """End all processes."""
        for team in (self.one, self.apart, *self.ranks.values()):
            team.end()


def _turn(team: Team, images: int, seconds: float) -> list[list[float]]:
    # For about so long; the first cycle is a rehearsal.
    first = max(team.cycles(images, 1)[0])
    count = max(3, min(400, round(seconds / first)))
    return team.cycles(images, count)


def _rate(cycles: list[list[float]], images: float) -> float:
    # Of all processes together, whose slowest decides each cycle.
    return images / statistics.mean(max(times) for times in cycles)


def _probe(team: Team, workers: int) -> tuple[Link, float]:
    """The link as plain all-reduces find it, and how busy the largest keep a processor."""
    medians = {}
    for size, count in ((_SMALL, 20), (_MIDDLE, 5), (_LARGE, 3)):
        team.all_reduce(size, 1)
        times, busy = team.all_reduce(size, count)
        medians[size] = statistics.median(times)
    slope = (medians[_LARGE] - medians[_MIDDLE]) / (_LARGE - _MIDDLE)
    rounds = 2 * (workers - 1)
    bandwidth = rounds / workers / slope
    latency = max(0.0, medians[_SMALL] / rounds - _SMALL / workers / bandwidth)
    return Link(bandwidth, latency), min(busy, 0.95)


def _round(stage: Stage, rows: list[Row], seconds: float) -> None:
    """Every side once, and a prediction from what this round found."""
    config, workers, batches = stage.config, stage.workers, stage.work.batches
    alone = _rate(_turn(stage.one, config.batch, seconds), batches * config.batch)
    shares = {row.mode: config.batch * (workers if row.mode == "weak" else 1) for row in rows}
    shares = {mode: batch // workers for mode, batch in shares.items()}
    sizes = sorted({*shares.values(), *(2 * share for share in shares.values())})
    apart = {size: _turn(stage.apart, size, seconds) for size in sizes}
    again = {size: _turn(stage.apart, size, seconds) for size in shares.values()}
    after = stage.apart.after()
    for row in rows:
        share = shares[row.mode]
        team = stage.on(row.network)
        link, busy = _probe(team, workers)
        measured = _turn(team, share, seconds)
        times = {n: [t for cycle in apart[n] for t in cycle] for n in (share, 2 * share)}
        compute = fit(times, after)
        images = share * workers
        expected = predict(
            stage.work, compute, Network(link, link, busy), images, workers, nodes=workers
        )
        row.one.append(alone)
        row.apart.append(_rate(apart[share], batches * images))
        row.again.append(_rate(again[share], batches * images))
        row.measured.append(_rate(measured, batches * images))
        row.predicted.append(expected.images_per_second)
        row.bandwidth.append(link.bandwidth)
        row.latency.append(link.latency)
        row.busy.append(busy)
