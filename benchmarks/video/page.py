"""What the records say, as a Markdown table: means over seeds, lowest and highest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.spread import spread, table
from benchmarks.video.sides import SIDES
from distgan.metrics.names import better

_ARROWS = {"lower": " ↓", "higher": " ↑"}
SHOWN = {
    "clip-frechet": "clip Frechet",
    "frame-frechet": "frame Frechet",
    "speed-distance": "speed distance, px",
    "speed": "speed, px a frame",
    "frame-difference": "frame difference",
    "digits-kept": "digits kept",
}
"""Values of an evaluation, with their titles; those of the data end with ``-of-real``."""
_SPEED = ("clips", "seconds", "clips per second", "waits for data, %", "peak memory, MB")


def tables(records: Sequence[dict[str, Any]]) -> str:
    """A table of quality and one of speed for every number of seconds."""
    lines: list[str] = []
    for seconds in sorted({record["seconds"] for record in records}):
        group = [record for record in records if record["seconds"] == seconds]
        lines += _of(seconds, group)
    return "\n".join(lines)


def _of(seconds: float, records: Sequence[dict[str, Any]]) -> list[str]:
    by_side = {
        side.title: of_side
        for side in SIDES.values()
        if (of_side := [record for record in records if record["side"] == side.name])
    }
    quality = [
        [title, *(_cell(name, of_side) for name in SHOWN)] for title, of_side in by_side.items()
    ]
    quality.append(["*held-out clips*", *(_cell(f"{name}-of-real", records) for name in SHOWN)])
    speed = [
        [
            title,
            *(spread([r["speed"][name] for r in of_side if name in r["speed"]]) for name in _SPEED),
        ]
        for title, of_side in by_side.items()
    ]
    header = ["", *(title + _ARROWS.get(better(name), "") for name, title in SHOWN.items())]
    counted = {len(of_side) for of_side in by_side.values()}
    seeds = " to ".join(map(str, sorted(counted)))
    return [
        f"**moving-mnist-small**, {seconds:g} seconds of training, {seeds} seeds, "
        f"{records[0]['num']:,} clips, {records[0]['threads']} thread(s)",
        "",
        *table(header, quality),
        "",
        *table(["", *_SPEED], speed),
        "",
    ]


def _speeds(records: Sequence[dict[str, Any]]) -> list[str]:
    found = [record["speed"] for record in records]
    return [spread([each[name] for each in found if name in each]) for name in _SPEED]


def _cell(name: str, records: Sequence[dict[str, Any]]) -> str:
    return spread([each["values"][name] for each in records if name in each["values"]])
