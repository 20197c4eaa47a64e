"""What the records say, as Markdown tables: means over seeds, lowest and highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.spread import Cells, spread, table
from benchmarks.translation.sides import TASKS, Task
from distgan.metrics.names import better

Record = dict[str, Any]

_ARROWS = {"lower": " ↓", "higher": " ↑"}
_SPEED = {
    "images": "images",
    "seconds": "seconds",
    "images per second": "images/s",
    "waits for data, %": "waits for data, %",
    "peak memory, MB": "peak memory, MB",
    "pools, kB": "pools, kB",
}
_KINDS = {"average": "", "last": ", last weights"}


def tables(records: Sequence[Record]) -> str:
    """One table of quality and one of speed for every task of which there are records."""
    lines: list[str] = []
    for task in TASKS:
        of_task = [record for record in records if record["task"] == task.name]
        for seconds in sorted({record["seconds"] for record in of_task}):
            group = [record for record in of_task if record["seconds"] == seconds]
            lines += _of_task(task, seconds, group)
    return "\n".join(lines)


def _of_task(task: Task, seconds: float, records: Sequence[Record]) -> list[str]:
    sides = {
        side.title: of_side
        for side in task.sides
        if (of_side := [record for record in records if record["side"] == side.name])
    }
    header = ["", *(title + _ARROWS.get(better(name), "") for name, title in task.shown.items())]
    quality = [
        [title + _KINDS[kind] * (len(of_side[0]["values"]) > 1), *_row(task.shown, values)]
        for title, of_side in sides.items()
        for kind, values in _by_kind(of_side).items()
    ]
    every = [values for record in records for values in record["values"].values()]
    for baseline in task.baselines:
        known = [
            {name: found[of] for name, of in baseline.values.items() if of in found}
            for found in every
        ]
        if any(known):
            quality.append([f"*{baseline.title}*", *_row(task.shown, [k for k in known if k])])
    counted = sorted({len(of_side) for of_side in sides.values()})
    seeds = " to ".join(map(str, counted if len(counted) < 3 else (counted[0], counted[-1])))
    plural = "" if counted == [1] else "s"
    speed = [[title, *_row(_SPEED, [r["speed"] for r in group])] for title, group in sides.items()]
    return [
        f"**{task.title}**, {seconds:g} seconds of training, {seeds} seed{plural}, "
        f"{records[0]['num']:,} held-out images",
        "",
        *table(header, quality),
        "",
        *table(["", *_SPEED.values()], speed),
        "",
    ]


def _by_kind(records: Sequence[Record]) -> dict[str, list[Mapping[str, float]]]:
    found: dict[str, list[Mapping[str, float]]] = {}
    for record in records:
        for kind, values in record["values"].items():
            found.setdefault(kind, []).append(values)
    return found


def _row(names: Mapping[str, str], values: Sequence[Mapping[str, float]]) -> Cells:
    return [spread([each[name] for each in values if name in each]) for name in names]
