"""The same networks trained by the same rule with what people would use instead.

One peer a file, each with ``build(task) -> Contender``; `benchmarks.peers.contest` lists them
and says how they are held to compute the same.

    pip install -r benchmarks/requirements-peers.txt
    python -m benchmarks.peers --workload W1
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import partial

from benchmarks.frame import Benchmark, Comparison, Process
from benchmarks.peers.contest import OURS, PEERS, Reference, Task, prepare

_ABOUT = {
    "shared": "both updates see the same fakes",
    "fresh": "each update has fakes of its own",
    "ranks": "two processes over gloo, half of the batch each",
}
_WARM = 1.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which workloads, on how many threads."""
    parser.add_argument("--workload", action="append", choices=("W1", "W2", "W3"), help="[W1, W2]")
    parser.add_argument("--rule", action="append", choices=OURS, help="[all; quick the first]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="[all]")


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """The peers of each rule beside distgan under that rule, for each workload."""
    for name in options.workload or ("W1", "W2")[: 1 if options.quick else None]:
        for rule in options.rule or list(OURS)[: 1 if options.quick else None]:
            yield comparison(Task(name, options.threads), rule)


def comparison(task: Task, rule: str) -> Comparison:
    """distgan and all peers of a rule."""
    reference = Reference.of(rule, task)
    names = [name for name, peer in PEERS.items() if peer.rule == rule]
    notes = [f"{name}: {PEERS[name].note}" for name in names if PEERS[name].note]
    about = f"{task.workload.about}, batch {task.workload.batch}, {task.threads} threads, float32"
    return Comparison(
        f"{task.name}, {rule}",
        "images/s",
        {name: partial(Process, prepare, name, task, reference) for name in names},
        about="; ".join([about, _ABOUT[rule], *notes]),
        warm=_WARM,
    )


BENCHMARK = Benchmark(
    "peers",
    "the same networks and rule with what people would use instead",
    compare,
    add_options,
    turns=7,
    seconds=3.0,
    quick=(2, 1.0),
)
