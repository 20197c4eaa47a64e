"""Values over seeds as cells of Markdown tables: means, lowest and highest."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

Cells = list[str]


def spread(values: Sequence[float]) -> str:
    """The mean, with the lowest and highest where they differ as far as they are shown."""
    if not values:
        return "-"
    low, mean, high = map(_digits, (min(values), statistics.fmean(values), max(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Cells, rows: Sequence[Cells]) -> list[str]:
    """The lines of a Markdown table, without columns that hold nothing."""
    used = [
        column
        for column in range(len(header))
        if column == 0 or any(row[column] != "-" for row in rows)
    ]
    picked = [[row[column] for column in used] for row in (header, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in picked]
    return [lines[0], "|---" + "|---:" * (len(used) - 1) + "|", *lines[1:]]
