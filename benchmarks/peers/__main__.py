"""Images a second of what people would use instead, beside distgan's: ratios, turn by turn.

    pip install -r benchmarks/requirements-peers.txt
    python -m benchmarks.peers --json peers.json
    python -m benchmarks.peers --workload W1 --turns 5 --seconds 2

Each peer is compared with distgan under the same rule (`benchmarks.peers.contest`), after its
weights were. A pair of turns during which other processes took more than --most cores counts
for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.contest import OURS, PEERS, Referee, Task, able, sides
from benchmarks.throughput import WORKLOADS
from benchmarks.turns import Turns, measure, quartiles

DEFAULT = ("W1", "W2")
MOST = 0.1
"""Cores that others may take before a turn counts as disturbed."""


def compare(
    task: Task, turns: int, seconds: float, names: list[str], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Verify, then measure, all who can take part in a task.

    Args:
        tell: hears of progress.

    Returns:
        ``absent``: why others take no part; ``differs``: the `deviation` of the
        others; ``speeds`` and ``others`` of `benchmarks.turns.Turns`.
    """
    reasons = able(task)
    absent = {name: reasons[name] for name in names if reasons[name]}
    taking_part = [name for name in names if not reasons[name]]
    differs: dict[str, float] = {}
    referee, same = Referee(task), []
    for name in taking_part:
        verdict = referee.judge(name)
        differs[name] = verdict.deviation
        text = (
            f"weights {verdict.deviation:.1e} from the reference's, {verdict.allowed:.1e} allowed"
        )
        tell(f"{task.name}: {name}: {text}")
        if verdict.same:
            same.append(name)
        else:
            absent[name] = text
    tell(f"{task.name}: {len(same)} sides take {turns} turns of {seconds:g} s")
    found = measure(sides(task, same), turns, seconds)
    return {"absent": absent, "differs": differs, "speeds": found.speeds, "others": found.others}


def rows(found: dict[str, Any], most: float = MOST) -> list[dict[str, Any]]:
    """A row for every contender: its speed, and its ratio to distgan under its rule.

    Args:
        found: what `compare` returned.
    """
    turns = Turns(found["speeds"], found["others"])
    made: list[dict[str, Any]] = []
    for name, peer in PEERS.items():
        row: dict[str, Any] = {"name": name, "rule": peer.rule, "note": peer.note}
        if name in found["absent"]:
            made.append(row | {"absent": found["absent"][name]})
        elif name in turns.speeds and OURS[peer.rule] in turns.speeds:
            pairs = turns.pairs(name, OURS[peer.rule], most)
            row["speed"] = statistics.median(turns.speeds[name])
            row["dropped"] = len(turns.speeds[name]) - len(pairs)
            row["ratio"] = quartiles(pairs) if len(pairs) > 1 else None
            made.append(row)
    return made


def _print(task: Task, made: list[dict[str, Any]]) -> None:
    print(f"\n{task.name} ({task.workload.about}), {task.threads} threads, float32")
    print(f"  {'':<22} {'images/s':>10}   to distgan             dropped")
    for row in made:
        line = f"  {row['name']:<22} "
        if "absent" in row:
            print(f"{line}{row['absent']}")
            continue
        if row["ratio"] is None:
            ratio = "too few quiet turns"
        else:
            middle, low, high = row["ratio"]
            ratio = f"{middle:.2f} ({low:.2f}-{high:.2f})"
        print(f"{line}{row['speed']:10,.1f}   {ratio:<22} {row['dropped']:>3}   {row['note']}")
    sys.stdout.flush()


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="[W1 and W2]")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="[all]")
    parser.add_argument("--only", action="append", choices=PEERS, help="these sides [all]")
    parser.add_argument("--turns", type=int, default=9, help="turns of each side [9]")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a turn [3]")
    parser.add_argument("--most", type=float, default=MOST, help=f"cores of others [{MOST}]")
    parser.add_argument("--json", metavar="FILE", help="every turn")
    options = parser.parse_args()
    every: dict[str, Any] = {"threads": options.threads}
    for name in options.workload or DEFAULT:
        task = Task(name, options.threads)
        found = compare(
            task,
            options.turns,
            options.seconds,
            options.only or list(PEERS),
            lambda text: print(text, file=sys.stderr, flush=True),
        )
        every[name] = found
        _print(task, rows(found, options.most))
        if options.json:
            Path(options.json).write_text(json.dumps(every, indent=2) + "\n")


if __name__ == "__main__":
    main()
