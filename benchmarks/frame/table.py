"""Tables of results, for a terminal and, from a folder of results, as Markdown.

python -m benchmarks.frame.table bench-results/step-...
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.frame import machine
from benchmarks.frame.figures import Row, Spread, rows
from benchmarks.frame.folder import Folder, Record
from distgan.errors import UserError


def heading(record: Record) -> list[str]:
    """The columns of a comparison's table."""
    ratio = f"ratio to {record.order[0]}" if record.ratios else "ratio (A/A)"
    return ["", record.unit, "quartiles", ratio, "quartiles", "pairs", *_others(record)]


def cells(record: Record, row: Row) -> list[str]:
    """A side's line of the table, in text."""
    middle, low, high = row.value
    ratio = ["", ""]
    if row.ratio is not None:
        ratio = [f"{row.ratio[0]:.3f}", f"{row.ratio[1]:.3f}-{row.ratio[2]:.3f}"]
    kept = f"{row.pairs - row.dropped} of {row.pairs}" if row.dropped else str(row.pairs)
    return [
        row.side,
        number(middle),
        f"{number(low)}-{number(high)}",
        *ratio,
        kept + ("*" if row.all_kept else ""),
        *(number(row.others[n]) if n in row.others else "" for n in _others(record)),
    ]


def number(value: float) -> str:
    """A figure with three digits that mean something."""
    size = abs(value)
    if size >= 1e6:
        return f"{value:.3g}"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.3g}"


def footnote(record: Record, limit: float) -> str:
    """What the star stands for, or nothing."""
    starred = any(row.all_kept for row in rows(record, limit))
    return "* Others used the machine nearly all the time: every pair is counted." * starred


def rich_table(record: Record, limit: float) -> Table:
    """A comparison's table for the terminal."""
    table = Table(box=None, pad_edge=False, title=escape(record.name), title_justify="left")
    for place, name in enumerate(heading(record)):
        table.add_column(escape(name), justify="right" if place else "left")
    for row in rows(record, limit):
        table.add_row(*map(escape, cells(record, row)))
    return table


def markdown(folder: Folder) -> Iterator[str]:
    """The lines of all tables of a folder, with command, date and machine."""
    run = folder.run
    limit: float = run["options"]["busy"]
    for record in folder.records.values():
        yield f"**{record.name}**" + (f": {record.about}" if record.about else "") + "\n"
        names = heading(record)
        yield "| " + " | ".join(names) + " |"
        yield "|---" + "|---:" * (len(names) - 1) + "|"
        for row in rows(record, limit):
            yield "| " + " | ".join(cells(record, row)) + " |"
        yield f"\n{note}\n" if (note := footnote(record, limit)) else ""
        for side, reason in record.unavailable.items():
            yield f"Without {side}: {reason.splitlines()[-1]}\n"
    state = "" if folder.complete else " Not finished."
    yield f"`{run['command']}`, {run['date'][:10]}; {machine.in_one_line(run['machine'])}.{state}"
    yield (
        f"Pairs during which others took more than {limit:.0%} of the machine are dropped; "
        f"the row \u201cagain\u201d is the first side beside itself."
    )


def as_figures(record: Record, limit: float) -> list[dict[str, Any]]:
    """The rows of a comparison for the JSON of the results."""
    return [
        {
            "side": row.side,
            record.unit: _named(row.value),
            "ratio": None if row.ratio is None else _named(row.ratio),
            "pairs": row.pairs,
            "dropped": row.dropped,
            "others": row.others,
        }
        for row in rows(record, limit)
    ]


def _named(spread: Spread) -> dict[str, float]:
    return dict(zip(("median", "low", "high"), spread, strict=True))


def _others(record: Record) -> list[str]:
    names: dict[str, None] = {}
    for found in record.whole()[:1]:
        for side in record.sides:
            names.update(dict.fromkeys(found[side]["values"]))
    return [name for name in names if name != record.unit]


def main() -> int:
    """Print the tables of folders of results, or of the folders in them, as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", metavar="DIR", type=Path)
    for path in parser.parse_args().folders:
        inner = sorted(file.parent for file in path.glob("*/run.json"))
        try:
            for folder in [Folder.open(one, "DIR") for one in inner or [path]]:
                print(f"### {folder.run['benchmark']}\n")
                print("\n".join(markdown(folder)) + "\n")
        except UserError as error:
            print(f"table: {error}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
