"""The results as a chart: one panel a comparison, a bar a side, quartiles as whiskers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.frame.figures import Row, Spread, rows
from benchmarks.frame.folder import Folder, Record

_HEIGHT_OF_BAR, _HEIGHT_OF_TITLE = 28, 90


def draw(folder: Folder, path: Path) -> bool:
    """Write the chart as HTML that needs no network; False without plotly."""
    try:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots
    except ImportError:
        return False
    limit: float = folder.run["options"]["busy"]
    panels = [(record, rows(record, limit)) for record in folder.records.values()]
    panels = [(record, found) for record, found in panels if found]
    if not panels:
        return False
    heights = [len(found) for _, found in panels]
    total = sum(heights) * _HEIGHT_OF_BAR + len(panels) * _HEIGHT_OF_TITLE
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=min(_HEIGHT_OF_TITLE / total, 0.9 / len(panels)),
        subplot_titles=[f"{record.name}: {_axis(record)}" for record, _ in panels],
    )
    for place, (record, found) in enumerate(panels, 1):
        spreads = [_shown(record, row) for row in found]
        figure.add_trace(
            go.Bar(
                y=[row.side for row in found],
                x=[middle for middle, _, _ in spreads],
                orientation="h",
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [high - middle for middle, _, high in spreads],
                    "arrayminus": [middle - low for middle, low, _ in spreads],
                },
                marker_color="#4477aa",
            ),
            row=place,
            col=1,
        )
        figure.update_yaxes(autorange="reversed", row=place, col=1)
    run = folder.run
    title = f"{run['benchmark']}, {run['date'][:10]}: {run['command']}"
    figure.update_layout(title=title, height=total, showlegend=False, template="plotly_white")
    figure.write_html(path, include_plotlyjs=True)
    return True


def _axis(record: Record) -> str:
    return f"ratio to {record.order[0]}" if record.ratios else record.unit


def _shown(record: Record, row: Row) -> Spread:
    return (row.ratio or (1.0, 1.0, 1.0)) if record.ratios else row.value
