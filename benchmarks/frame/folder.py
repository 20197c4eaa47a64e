"""The folder of a benchmark's run: what was asked for, every turn, and the results.

::

    run.json        benchmark, options, command, date, machine, versions, commit
    turns.jsonl     one line a turn, written as it ends; what `--resume` goes on from
    results.json    all of it and the figures, once the run is complete
    plot.html       the ratios, or values, as a chart
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.frame import machine
from benchmarks.frame.comparison import Comparison
from benchmarks.turns import Values
from distgan.errors import UserError

_RUN, _TURNS, RESULTS = "run.json", "turns.jsonl", "results.json"


@dataclass
class Record:
    """What is known of a comparison: its rounds, and the sides that could not be measured.

    A round maps sides to the line of each turn: ``values``, and ``busy``, the share of the
    machine that others took meanwhile.
    """

    name: str
    unit: str
    ratios: bool
    about: str
    order: list[str]
    shares: list[str] = field(default_factory=list)
    complete: bool = False
    unavailable: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, dict[str, Any]]] = field(default_factory=list)

    def whole(self) -> list[dict[str, dict[str, Any]]]:
        """The rounds in which every side had its turn."""
        wanted = set(self.sides)
        return [found for found in self.rounds if wanted <= set(found)]

    @property
    def sides(self) -> list[str]:
        """Those that could be measured, in the order of their turns."""
        return [side for side in self.order if side not in self.unavailable]


class Folder:
    """Reads and writes the folder; every turn is on the disk before the next begins."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        self.path, self.run = path, run
        self.records: dict[str, Record] = {}
        if (path / _TURNS).exists():
            self._read()

    @staticmethod
    def create(path: Path, benchmark: str, options: dict[str, Any], command: str) -> Folder:
        """Begin a run.

        Raises:
            UserError: when the folder holds anything.
        """
        if (path / _RUN).exists():
            raise UserError(
                f"--out {path}: holds a run; go on with it by --resume {path}, "
                "or choose another --out"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"--out {path}: is not an empty folder; choose another --out")
        path.mkdir(parents=True, exist_ok=True)
        run = {
            "benchmark": benchmark,
            "options": options,
            "command": command,
            "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": machine.describe(),
        }
        _write(path / _RUN, run)
        return Folder(path, run)

    @staticmethod
    def open(path: Path, option: str) -> Folder:
        """An existing run.

        Raises:
            UserError: when there is none, naming the ``option`` that pointed to it.
        """
        try:
            return Folder(path, json.loads((path / _RUN).read_text()))
        except (OSError, ValueError):
            raise UserError(
                f"{option} {path}: holds no run of a benchmark (no {_RUN}); give a folder that "
                "`distgan bench` wrote"
            ) from None

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return (self.path / RESULTS).exists()

    def begin(self, comparison: Comparison) -> Record:
        """The record of a comparison, new or as far as it has come."""
        found = self.records.get(comparison.name)
        if found is None or found.order != comparison.order:
            facts: dict[str, Any] = {
                "unit": comparison.unit,
                "ratios": comparison.ratios,
                "about": comparison.about,
                "order": comparison.order,
                "shares": list(comparison.shares),
            }
            found = self.records[comparison.name] = Record(comparison.name, **facts)
            self._append({"comparison": comparison.name, **facts})
        found.rounds = found.whole()
        return found

    def add(self, record: Record, number: int, side: str, values: Values, busy: float) -> None:
        """Keep a turn."""
        line = {
            "comparison": record.name,
            "round": number,
            "side": side,
            "values": values,
            "busy": round(busy, 4),
            "at": time.strftime("%H:%M:%S"),
        }
        self._append(line)
        _place(record, line)

    def leave_out(self, record: Record, side: str, reason: str) -> None:
        """Keep that a side could not be measured."""
        record.unavailable[side] = reason
        self._append({"comparison": record.name, "side": side, "unavailable": reason})

    def end(self, record: Record) -> None:
        """Keep that a comparison needs no more rounds."""
        record.complete = True
        self._append({"comparison": record.name, "complete": True})

    def finish(self, figures: dict[str, Any]) -> None:
        """Write the results."""
        comparisons = [
            {**vars(record), "figures": figures[name]} for name, record in self.records.items()
        ]
        _write(self.path / RESULTS, {**self.run, "comparisons": comparisons})

    def _append(self, line: dict[str, Any]) -> None:
        with (self.path / _TURNS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _read(self) -> None:
        text = (self.path / _TURNS).read_text()
        kept = text.splitlines(keepends=True)
        if kept and not kept[-1].endswith("\n"):
            # Cut off while it was written: as if that turn had not been.
            kept.pop()
            (self.path / _TURNS).write_text("".join(kept))
        for line in map(json.loads, kept):
            name = line.pop("comparison")
            if "order" in line:
                self.records[name] = Record(name, **line)
            elif "unavailable" in line:
                self.records[name].unavailable[line["side"]] = line["unavailable"]
            elif "complete" in line:
                self.records[name].complete = True
            else:
                _place(self.records[name], line)


def _place(record: Record, line: dict[str, Any]) -> None:
    number: int = line["round"]
    while len(record.rounds) <= number:
        record.rounds.append({})
    record.unavailable.pop(line["side"], None)
    record.rounds[number][line["side"]] = {n: line[n] for n in ("values", "busy", "at")}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
