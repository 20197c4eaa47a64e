"""Tables of results, for a terminal and, from a folder of results, as Markdown.

python -m benchmarks.table bench-results/step-...
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from benchmarks.frame import machine
from benchmarks.frame.figures import Row, Spread, rows
from benchmarks.frame.folder import Folder, Record
from distgan.errors import UserError

_BESIDE = 3
"""Other values that a table has room for; more have a table of their own."""

Lines = list[list[str]]


def tables(record: Record, limit: float) -> list[Lines]:
    """A comparison as lines of cells, headings first: figures, and what turns found besides."""
    found = rows(record, limit)
    names = list(dict.fromkeys(name for row in found for name in row.others))
    ratio = f"ratio to {record.order[0]}" if record.ratios else "ratio (A/A)"
    heading = ["", record.unit, "quartiles", ratio, "quartiles", "pairs"]
    figures = [heading, *(_figures(row) for row in found)]
    others = [names, *([_number_or_nothing(row, n) for n in names] for row in found)]
    if len(names) <= _BESIDE:
        return [[left + right for left, right in zip(figures, others, strict=True)]]
    sides = ["", *(row.side for row in found)]
    return [figures, [[side, *values] for side, values in zip(sides, others, strict=True)]]


def _figures(row: Row) -> list[str]:
    middle, low, high = row.value
    ratio = ["", ""]
    if row.ratio is not None:
        ratio = [f"{row.ratio[0]:.3f}", f"{row.ratio[1]:.3f}-{row.ratio[2]:.3f}"]
    kept = f"{row.pairs - row.dropped} of {row.pairs}" if row.dropped else str(row.pairs)
    star = "*" * row.all_kept
    return [row.side, number(middle), f"{number(low)}-{number(high)}", *ratio, kept + star]


def _number_or_nothing(row: Row, name: str) -> str:
    return number(row.others[name]) if name in row.others else ""


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


def rich_tables(record: Record, limit: float) -> list[Table]:
    """A comparison's tables for the terminal."""
    shown: list[Table] = []
    for lines in tables(record, limit):
        title = None if shown else escape(record.name)
        table = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for place, name in enumerate(lines[0]):
            table.add_column(escape(name), justify="right" if place else "left")
        for line in lines[1:]:
            table.add_row(*map(escape, line))
        shown.append(table)
    return shown


def markdown(folder: Folder) -> Iterator[str]:
    """The lines of all tables of a folder, with command, date and machine."""
    run = folder.run
    limit: float = run["options"]["busy"]
    for record in folder.records.values():
        yield f"**{record.name}**" + (f": {record.about}" if record.about else "") + "\n"
        for lines in tables(record, limit):
            yield "| " + " | ".join(lines[0]) + " |"
            yield "|---" + "|---:" * (len(lines[0]) - 1) + "|"
            yield from ("| " + " | ".join(line) + " |" for line in lines[1:])
            yield ""
        if note := footnote(record, limit):
            yield f"\\{note}\n"
        for side, reason in record.unavailable.items():
            yield f"Without {side}: {reason.splitlines()[-1]}\n"
    yield from _made(folder)


def brief(folder: Folder) -> Iterator[str]:
    """The same, a line for each comparison.

    Raises:
        UserError: where comparisons have different sides.
    """
    limit: float = folder.run["options"]["busy"]
    if len({tuple(record.sides) for record in folder.records.values()}) != 1:
        raise UserError(f"--brief: {folder.path} has comparisons of different sides; leave it out")
    first, *others = next(iter(folder.records.values())).sides
    heading = ["", first, *(words for side in others for words in (side, "ratio"))]
    yield "| " + " | ".join(heading) + " |"
    yield "|---" + "|---:" * (len(heading) - 1) + "|"
    for record in folder.records.values():
        cells = [record.name]
        for row in rows(record, limit):
            cells.append(number(row.value[0]))
            if row.ratio is not None:
                star = r"\*" if row.all_kept else ""
                cells.append("{:.3f} ({:.3f}-{:.3f})".format(*row.ratio) + star)
        yield "| " + " | ".join(cells) + " |"
    yield ""
    for note in {footnote(record, limit) for record in folder.records.values()} - {""}:
        yield f"\\{note}\n"
    yield from _made(folder)


def _made(folder: Folder) -> Iterator[str]:
    run, limit = folder.run, folder.run["options"]["busy"]
    state = "" if folder.complete else " Not finished."
    command = _anybodys(run["command"])
    yield f"`{command}`, {run['date'][:10]}; {machine.in_one_line(run['machine'])}.{state}"
    yield (
        f"Pairs during which others took more than {limit:.0%} of the machine are dropped; "
        f"the row \u201cagain\u201d is the first side beside itself."
    )


def _anybodys(command: str) -> str:
    """A command without where its results went, which is nobody else's."""
    words = shlex.split(command)
    while "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    return shlex.join(word for word in words if not word.startswith("--out="))


def as_figures(record: Record, limit: float) -> list[dict[str, Any]]:
    """The rows of a comparison for the JSON of the results."""
    return [
        {
            "side": row.side,
            record.unit: _named(row.value),
            "ratio": None if row.ratio is None else _named(row.ratio),
            "pairs": row.pairs,
            "dropped": row.dropped,
            "all_kept": row.all_kept,
            "others": row.others,
        }
        for row in rows(record, limit)
    ]


def _named(spread: Spread) -> dict[str, float]:
    return dict(zip(("median", "low", "high"), spread, strict=True))
