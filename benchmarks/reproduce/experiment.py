"""What an experiment is, its dated records, and the table of what was published beside ours."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.frame import machine
from distgan.metrics import student

RECORDS = Path(__file__).parent.parent / "records" / "published"
Values = dict[str, float]
"""What a run found, by name."""


@dataclass(frozen=True)
class Variant:
    """One line of the table.

    Args:
        name: as the table has it, and of its records.
        settings: whatever decides what is computed, as it is recorded.
        published: by the name of a value, as the source prints it.
        source: where it was published.
        differs: how ours differs from the published way, in words; empty for not at all.
    """

    name: str
    settings: dict[str, Any]
    published: dict[str, str]
    source: str
    differs: str = ""


@dataclass(frozen=True)
class Experiment:
    """Variants of a published experiment, and how one is run.

    Args:
        options: adds the experiment's own to a command.
        variants: those that the options ask for.
        run: trains and measures one with a seed, in a folder where it goes on if it was stopped.
    """

    name: str
    what: str
    options: Callable[[argparse.ArgumentParser], None]
    variants: Callable[[argparse.Namespace], Sequence[Variant]]
    run: Callable[[Variant, int, Path, argparse.Namespace], Values]


def reproduce(
    experiment: Experiment, variant: Variant, seed: int, options: argparse.Namespace
) -> Path:
    """Run one variant with one seed unless a record of it is there; the record's file.

    Seconds are those of all attempts of this seed, also of those that were stopped.
    """
    kind = hashlib.sha256(json.dumps(variant.settings, sort_keys=True).encode()).hexdigest()[:8]
    name = f"{experiment.name}-{re.sub('[^A-Za-z0-9=]+', '-', variant.name)}-{kind}-{seed}"
    file = RECORDS / f"{name}.json"
    if file.exists():
        print(f"{variant.name}, seed {seed}: {file.name} is there", flush=True)
        return file
    folder = options.out / name
    folder.mkdir(parents=True, exist_ok=True)
    spent, start = folder / "seconds.txt", time.monotonic()
    before = float(spent.read_text()) if spent.exists() else 0.0
    try:
        values = experiment.run(variant, seed, folder, options)
    finally:
        seconds = before + time.monotonic() - start
        spent.write_text(str(seconds))
    record = {
        "experiment": experiment.name,
        "variant": variant.name,
        "seed": seed,
        "settings": variant.settings,
        "differs": variant.differs,
        "published": variant.published,
        "source": variant.source,
        "values": values,
        "hours": seconds / 3600,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine.describe(),
    }
    RECORDS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")
    found = ", ".join(f"{name} {value:g}" for name, value in values.items())
    print(f"{variant.name}, seed {seed}: {found}; {seconds / 3600:.2f} h", flush=True)
    return file


def read() -> list[dict[str, Any]]:
    """All records."""
    return [json.loads(file.read_text()) for file in sorted(RECORDS.glob("*.json"))]


def table(records: Sequence[dict[str, Any]]) -> str:
    """What was published beside ours, as Markdown: means over seeds and 95% intervals by t."""
    lines = [
        "| experiment | value | published | ours | seeds | hours each | differs in |",
        "|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in records:
        key = (record["experiment"], record["variant"], json.dumps(record["settings"]))
        groups.setdefault(key, []).append(record)
    for (experiment, variant, _), group in groups.items():
        first = group[0]
        hours = statistics.fmean(record["hours"] for record in group)
        for number, name in enumerate(first["values"]):
            ours = _interval([record["values"][name] for record in group])
            published = first["published"].get(name, "-")
            about = f"{experiment}: {variant}" if number == 0 else ""
            rest = (str(len(group)), f"{hours:.2f}", first["differs"] or "nothing known")
            cells = (about, name, published, ours, *(rest if number == 0 else ("", "", "")))
            lines.append(f"| {' | '.join(cells)} |")
    sources = dict.fromkeys(record["source"] for record in records)
    return "\n".join([*lines, "", *(f"- {source}" for source in sources)])


def _interval(values: Sequence[float]) -> str:
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:.4g}"
    quantile = student.quantile(0.975, len(values) - 1)
    half = quantile * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.4g} ± {half:.2g}"
