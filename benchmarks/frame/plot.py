"""The results as a chart: a bar a side, and where turns found shares, what they are made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.frame.figures import Row, Spread, rows
from benchmarks.frame.folder import Folder, Record

_HEIGHT_OF_BAR, _HEIGHT_OF_TITLE = 28, 90
_ABOVE, _BELOW = 110, 50
_BLUE = "#4477aa"
_SHARES = (
    *("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb", "#332288"),
    *("#999933", "#882255"),
)


@dataclass(frozen=True)
class _Panel:
    """Bars under a title; ``bars`` makes plotly's traces."""

    title: str
    height: int
    bars: Callable[[], list[Any]]


def draw(folder: Folder, path: Path) -> bool:
    """Write the chart as HTML that needs no network; False without plotly."""
    try:
        from plotly.subplots import make_subplots
    except ImportError:
        return False
    panels = _panels(folder)
    if not panels:
        return False
    heights = [panel.height for panel in panels]
    drawn = sum(heights) * _HEIGHT_OF_BAR + (len(panels) - 1) * _HEIGHT_OF_TITLE
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=min(_HEIGHT_OF_TITLE / drawn, 0.9 / len(panels)),
        subplot_titles=[panel.title for panel in panels],
    )
    for place, panel in enumerate(panels, 1):
        for bar in panel.bars():
            figure.add_trace(bar, row=place, col=1)
        figure.update_yaxes(autorange="reversed", dtick=1, row=place, col=1)
    run = folder.run
    figure.update_layout(
        title=f"{run['benchmark']}, {run['date'][:10]}: {run['command']}",
        height=_ABOVE + drawn + _BELOW,
        margin={"t": _ABOVE, "b": _BELOW},
        barmode="stack",
        template="plotly_white",
    )
    figure.write_html(path, include_plotlyjs=True)
    return True


def _panels(folder: Folder) -> list[_Panel]:
    limit: float = folder.run["options"]["busy"]
    panels: list[_Panel] = []
    for record in folder.records.values():
        found = rows(record, limit)
        if not found:
            continue
        axis = f"ratio to {record.order[0]}" if record.ratios else record.unit
        figures = partial(_figures, record, found)
        panels.append(_Panel(f"{record.name}: {axis}", len(found), figures))
        divided = [row for row in found if row.others.keys() >= set(record.shares)]
        if record.shares and divided:
            shares = partial(_shares, divided, record.shares)
            panels.append(_Panel(f"{record.name}: shares of the time", len(divided), shares))
    return panels


def _figures(record: Record, found: list[Row]) -> list[Any]:
    import plotly.graph_objects as go

    spreads = [_shown(record, row) for row in found]
    whiskers = {
        "type": "data",
        "symmetric": False,
        "array": [high - middle for middle, _, high in spreads],
        "arrayminus": [middle - low for middle, low, _ in spreads],
    }
    return [
        go.Bar(
            y=[row.side for row in found],
            x=[middle for middle, _, _ in spreads],
            orientation="h",
            error_x=whiskers,
            marker_color=_BLUE,
            showlegend=False,
        )
    ]


def _shares(found: list[Row], names: list[str]) -> list[Any]:
    import plotly.graph_objects as go

    return [
        go.Bar(
            y=[row.side for row in found],
            x=[row.others[name] for row in found],
            orientation="h",
            name=name.removesuffix(" %"),
            marker_color=_SHARES[place % len(_SHARES)],
            showlegend=False,
            text=name.removesuffix(" %"),
            insidetextanchor="middle",
            textposition="inside",
        )
        for place, name in enumerate(names)
    ]


def _shown(record: Record, row: Row) -> Spread:
    return (row.ratio or (1.0, 1.0, 1.0)) if record.ratios else row.value
