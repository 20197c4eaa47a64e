"""The dated records of races, one JSON file each, and the index made from them."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.frame import machine

Record = dict[str, Any]

_INDEX = """# Records of the GAN speedrun

Seconds of training to a Frechet distance; `python -m benchmarks.quality` made every file and
this page. A turn of each racer after the other, {threads} threads, evaluations not counted. A racer
that is there stops after a minute; where the textbook loop needs longer, "equal time" is its last.
"""


def described(threads: int) -> Record:
    """When, on what and with which versions."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **machine.describe(),
        "threads": threads,
    }


def read(folder: Path) -> list[Record]:
    """All records, the oldest first."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda record: str(record["machine"]["time"]))


def write(folder: Path, record: Record) -> Path:
    """Keep a record, and renew the index."""
    folder.mkdir(parents=True, exist_ok=True)
    day, course = record["machine"]["time"][:10], record["course"]
    name = f"{day}-{course['name']}-{course['target']:g}-{record['seed']}-{record['key']}"
    # A line for every measurement.
    text = re.sub(r"\{\s+(\"seconds\"[^{}]*?)\s+\}", _in_one_line, json.dumps(record, indent=1))
    file, draft = folder / f"{name}.json", folder / f"{name}-provisional.json"
    (draft if record["provisional"] else file).write_text(text + "\n")
    if not record["provisional"]:
        draft.unlink(missing_ok=True)
    (folder / "README.md").write_text(index(read(folder)))
    return draft if record["provisional"] else file


def _in_one_line(found: re.Match[str]) -> str:
    return "{" + " ".join(found[1].split()) + "}"


def at(side: Record, key: str, most: float) -> Record | None:
    """A racer's last measurement with no more seconds, or images, than given."""
    found = [e for e in side["evaluations"] if e[key] <= most]
    return found[-1] if found else None


def row(record: Record, base: str, other: str) -> list[str]:
    """What a race says: seconds of both, how much sooner, and both at equal time and images."""
    sides = record["sides"]
    book, ours = sides[base], sides[other]
    there, here = book["reached"], ours["reached"]
    limit = record["course"]["limit"]

    def seconds(found: Record | None) -> str:
        return f"over {limit:.0f}" if found is None else f"{found['seconds']:.0f}"

    sooner = "-"
    if here is not None:
        low = limit if there is None else there["seconds"]
        sooner = f"{'over ' if there is None else ''}{low / here['seconds']:.1f}"
    end = there or book["evaluations"][-1]
    same_time, same_images = at(ours, "seconds", end["seconds"]), at(ours, "images", end["images"])
    return [
        str(record["seed"]),
        seconds(there),
        seconds(here),
        sooner,
        f"{end['frechet']:.1f}",
        "-" if same_time is None else f"{same_time['frechet']:.1f}",
        "-" if same_images is None else f"{same_images['frechet']:.1f}",
        f"{book['others']:.0%}, {ours['others']:.0%}",
    ]


_COLUMNS = (
    "seed",
    "{base}, s",
    "{other}, s",
    "times sooner",
    "{base} then",
    "{other}, equal time",
    "{other}, equal images",
    "taken by others",
)


def _groups(records: Iterable[Record]) -> dict[tuple[str, ...], list[Record]]:
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        course, day = record["course"], record["machine"]["time"][:10]
        kind = "provisional" if record["provisional"] else ""
        about = f"{course['name']}, Frechet distance of {course['target']:g}"
        made_by = f"{record['machine']['processor']} {record['machine'].get('commit')}"
        key = (f"{about}, {day}", made_by, kind, record["key"])
        groups.setdefault(key, []).append(record)
    return groups


def table(records: list[Record], base: str, other: str) -> str:
    """The races of one course on one day as a Markdown table, with the median of how much
    sooner one racer was than another."""
    columns = (column.format(base=base, other=other) for column in _COLUMNS)
    lines = [" | ".join(("", *columns, "")).strip()]
    lines.append("|" + "---|" * len(_COLUMNS))
    ratios = []
    for record in sorted(records, key=lambda r: int(r["seed"])):
        cells = row(record, base, other)
        lines.append("| " + " | ".join(cells) + " |")
        if cells[3] != "-":
            ratios.append(float(cells[3].split()[-1]))
    if ratios:
        spread = f"median; {min(ratios):.1f} to {max(ratios):.1f}"
        spread = spread if len(ratios) > 1 else "one race"
        lines += ["", f"{statistics.median(ratios):.1f} times sooner ({spread})."]
    return "\n".join(lines)


def index(records: list[Record]) -> str:
    """The page of a folder of records."""
    threads = records[-1]["machine"]["threads"] if records else 0
    parts = [_INDEX.format(threads=threads)]
    for (title, _, kind, key), found in reversed(_groups(records).items()):
        where, card = found[-1]["machine"], found[-1]["sides"]["textbook"]["card"]
        parts.append(
            f"## {title}{f' ({kind})' if kind else ''}\n\n{machine.in_one_line(where)}; "
            f"extractor {card['extractor']} "
            f"{card['extractor_hash'][:8]}, {card['real']:,} real of "
            f"{found[-1]['images']:,} and {card['fake']:,} generated images; settings {key}.\n"
        )
        pairs = itertools.combinations(found[-1]["sides"], 2)
        parts += [table(found, *pair) + "\n" for pair in pairs]
    return "\n".join(parts)
