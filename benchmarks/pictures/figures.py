"""The tables of a Markdown page of measured figures, read back as numbers."""

from __future__ import annotations

import re
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "README.md"

Table = dict[str, dict[str, str]]
"""Cells by the first cell of their row, and by the heading of their column."""


def section(name: str) -> str:
    """The text of a benchmark's section in benchmarks/README.md."""
    found = re.search(rf"^### {name}$(.*?)(?=^##)", BENCHMARKS.read_text("utf-8"), re.M | re.S)
    if found is None:
        raise LookupError(f"{BENCHMARKS}: has no section {name}")
    return found[1]


def table(text: str, title: str = "") -> Table:
    """The first table of a text after a title; of headings that repeat, the first counts.

    Raises:
        LookupError: when there is none.
    """
    begin = text.find(title)
    lines = text[begin:].splitlines() if begin >= 0 else []
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
        elif rows:
            break
    if len(rows) < 3:
        raise LookupError(f"no table below {title!r}")
    headings, _, *body = rows
    return {row[0]: dict(reversed(list(zip(headings[1:], row[1:], strict=True)))) for row in body}


def number(cell: str) -> float:
    """A cell's number: without commas between digits, and without the quartiles behind it."""
    return float(cell.replace(",", "").split()[0])


def made(text: str) -> str:
    """When and on what the tables of a section were measured, in a few words."""
    found = re.search(r"^`.*`, (\d{4}-\d\d-\d\d); (.*?), torch ([\d.]+)", text, re.M)
    if found is None:
        raise LookupError("the section does not say when it was measured")
    return f"{found[1]}, {found[2]}, torch {found[3].rstrip('.')}"
