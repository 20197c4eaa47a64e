"""Runs that are stopped after so many seconds, as by Ctrl-C, what they came to by then, and the
options of benchmarks that train so."""

from __future__ import annotations

import argparse
import os
import shutil
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distgan.config.run import RunConfig
from distgan.launch.signals import StopRequest
from distgan.launch.start import Plan
from distgan.launch.start import train as train_run
from distgan.training.control import Status


@dataclass(frozen=True)
class Ended:
    """``seconds`` are those asked for, or fewer where it ended by itself; it ``start``ed after some
    of them, and then trained at a ``pace`` of images a second."""

    images: int
    seconds: float
    start: float
    pace: float


class _Watch:
    """Hears of a run's progress until it is stopped; what is written then takes its own time."""

    def __init__(self, stop: StopRequest) -> None:
        self._stop = stop
        self._first: tuple[float, int] | None = None
        self._last = (0.0, 0)

    def start(self, plan: Plan) -> None: ...
    def note(self, text: str, kind: str = "") -> None: ...

    def progress(self, status: Status) -> None:
        if self._stop.name:
            return
        self._last = time.perf_counter(), status.images_seen
        if self._first is None and status.images_seen:
            self._first = self._last

    def pace(self, start: float) -> tuple[float, float]:
        """Seconds from ``start`` to the first progress, and images a second from then on."""
        assert self._first is not None, "nothing was trained in that time"
        (since, before), (until, after) = self._first, self._last
        if after == before:
            return 0.0, after / (until - start)
        return since - start, (after - before) / (until - since)


def limited(config: RunConfig, seconds: float, threads: int, out: Path) -> Ended:
    """Train for so many seconds, the start and what is read for it included."""
    shutil.rmtree(out, ignore_errors=True)
    stop = StopRequest()
    watch = _Watch(stop)
    timer = threading.Timer(seconds, setattr, (stop, "name", "SIGTERM"))
    timer.start()
    start = time.perf_counter()
    try:
        result = train_run(
            config, out=str(out), workers=0, threads=threads, display=watch, stop=stop
        )
    finally:
        timer.cancel()
    passed = min(time.perf_counter() - start, seconds)
    return Ended(result.images_seen, passed, *watch.pace(start))


def waiting(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Percent of the time in which steps waited for data, over all records that know a speed."""
    times, before = [], 0
    for record in found:
        if speed := record.get("images_per_second"):
            times.append(((record["images"] - before) / speed, record["data_wait"]))
        before = record["images"]
    whole = sum(seconds for seconds, _ in times)
    if not whole:
        return {}
    return {"waits for data, %": round(100 * sum(s * share for s, share in times) / whole, 3)}


@dataclass(frozen=True)
class Defaults:
    """Of the options of a benchmark that trains sides for so many seconds each.

    ``num`` is how many of what ``measured`` says; ``quick`` are the seconds and that number for a
    try.
    """

    seconds: float
    num: int
    measured: str
    out: str
    quick: tuple[float, int]


def read_options(about: str, names: Collection[str], defaults: Defaults) -> argparse.Namespace:
    """The command line: which sides by ``names``, seeds, seconds, threads, and where to."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    add("--seeds", default="0,1,2", help="separated by commas [0,1,2]")
    usual = f"[{defaults.seconds:g}]"
    add("--seconds", type=float, default=defaults.seconds, help=f"of training, of each {usual}")
    add("--threads", type=int, default=os.cpu_count() or 1, help="[all cores]")
    add("--num", type=int, default=defaults.num, help=f"{defaults.measured} [{defaults.num}]")
    add("--quick", action="store_true", help="one seed of seconds, kept in --out")
    add("--out", type=Path, default=Path(defaults.out), help="runs and sets")
    options = parser.parse_args()
    if options.quick:
        options.seeds, (options.seconds, options.num) = "0", defaults.quick
    return options
