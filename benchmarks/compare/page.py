"""The comparison as a Markdown table, and as a page with pictures that needs no network."""

from __future__ import annotations

import base64
import html
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.compare.sides import VALUES
from distgan.metrics.names import better

Record = dict[str, Any]
Pixels = NDArray[np.uint8]

_AT = {"seconds": "equal seconds of training", "images": "equal images"}
_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --faint: #66727f; --line: #d5dbe1; --ground: #fff;
  --best: #e3f1e5 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --faint: #9aa5b1; --line: #3a444e;
  --ground: #14181c; --best: #1f3a26 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem } h2 { margin-top: 2.5rem } p { color: var(--faint) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0 }
th, td { padding: .4rem .8rem; border-bottom: 1px solid var(--line); text-align: right }
td { white-space: nowrap } th { vertical-align: bottom } small { color: var(--faint) }
th:first-child, td:first-child { text-align: left } td.best { background: var(--best) }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 1.5rem }
figure { margin: 0 } figcaption { color: var(--faint); margin: .3rem 0 .8rem }
img { width: 100%; image-rendering: pixelated; border-radius: 4px }
"""


def groups(records: Sequence[Record]) -> dict[tuple[str, str], dict[str, list[Record]]]:
    """Records by set and kind of comparison, then by side, in their order."""
    found: dict[tuple[str, str], dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda each: (each["set"], each["at"] == "images")):
        key = record["set"], record["at"]
        found.setdefault(key, {}).setdefault(record["side"], []).append(record)
    return found


def rows(sides: Mapping[str, list[Record]]) -> tuple[list[str], list[list[tuple[str, bool]]]]:
    """Header and cells, each with whether it is the best of its column."""
    shown = [v for v in VALUES if any(v in r["values"] for rs in sides.values() for r in rs)]
    header = ["", "images", "seconds", *(VALUES[v] + _arrow(v) for v in shown)]
    means = {
        side: {
            v: statistics.fmean(r["values"][v] for r in rs) for v in shown if v in rs[0]["values"]
        }
        for side, rs in sides.items()
    }
    table = []
    for side, group in sides.items():
        images = statistics.fmean(r["images"] for r in group)
        seconds = statistics.fmean(r["seconds"] for r in group)
        cells = [(side, False), (f"{images:,.0f}", False), (f"{seconds:,.0f}", False)]
        for value in shown:
            if value not in means[side]:
                cells.append(("-", False))
                continue
            known = [found[value] for found in means.values() if value in found]
            best = min(known) if better(value) == "lower" else max(known)
            text = _with_range([r["values"][value] for r in group])
            cells.append((text, known.count(best) < len(known) and means[side][value] == best))
        table.append(cells)
    return header, table


def _arrow(value: str) -> str:
    return {"lower": " ↓", "higher": " ↑"}.get(better(value), "")


def _with_range(values: Sequence[float]) -> str:
    mean = _digits(statistics.fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ({_digits(min(values))} to {_digits(max(values))})"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def markdown(records: Sequence[Record]) -> str:
    """The tables, the best of each column in bold: means over seeds, lowest and highest."""
    lines = []
    for (name, at), sides in groups(records).items():
        header, table = rows(sides)
        seeds = max(len(group) for group in sides.values())
        lines += [f"**{name}, {_AT[at]}, {_seeds(seeds)}**", "", f"| {' | '.join(header)} |"]
        lines += ["|---" * len(header) + "|"]
        for cells in table:
            texts = [f"**{text}**" if best else text for text, best in cells]
            lines.append(f"| {' | '.join(texts)} |")
        lines.append("")
    return "\n".join(lines)


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def page(
    records: Sequence[Record], pictures: Mapping[str, Mapping[str, Mapping[str, Pixels]]], on: str
) -> str:
    """HTML.

    Args:
        pictures: uint8 (n, h, w, c), by set, side and what they are.
        on: the machine, in words.
    """
    parts = []
    for (name, at), sides in groups(records).items():
        header, table = rows(sides)
        head = "".join(f"<th>{html.escape(text)}</th>" for text in header)
        body = "".join(
            "<tr>"
            + "".join(
                f"<td{' class=best' if best else ''}>{_cell(text)}</td>" for text, best in cells
            )
            + "</tr>"
            for cells in table
        )
        count = max(len(group) for group in sides.values())
        parts.append(
            f"<h2>{html.escape(name)}, {_AT[at]}</h2><p>Means over {_seeds(count)}, lowest and "
            f"highest. Green: the best mean.</p><div class=scroll><table><tr>{head}</tr>{body}"
            "</table></div>"
        )
        if at == "seconds":
            parts.append(_drawn(pictures.get(name, {})))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>GAN, VAE and VAE-GAN</title><style>{_STYLE}</style>"
        "<h1>GAN, VAE and VAE-GAN on the same data</h1>"
        f"<p>Decoders of the same size. {html.escape(on)}</p>{''.join(parts)}</html>\n"
    )


def _cell(text: str) -> str:
    """The range of a value in small letters below it."""
    mean, space, rest = html.escape(text).partition(" (")
    return f"{mean}<br><small>{rest.rstrip(')')}</small>" if space else mean


def _drawn(sides: Mapping[str, Mapping[str, Pixels]]) -> str:
    figures = []
    for side, kinds in sides.items():
        inner = "".join(
            f"<img alt='{html.escape(side)}: {kind}' src='{_data_uri(pixels)}'>"
            f"<figcaption>{kind}</figcaption>"
            for kind, pixels in kinds.items()
        )
        figures.append(f"<figure><h3>{html.escape(side)}</h3>{inner}</figure>")
    return f"<div class=sides>{''.join(figures)}</div>"


def _data_uri(pixels: Pixels, columns: int = 10) -> str:
    count, height, width, channels = pixels.shape
    lines = -(-count // columns)
    whole = np.full((lines * (height + 1), columns * (width + 1), channels), 255, np.uint8)
    for number, image in enumerate(pixels):
        y, x = divmod(number, columns)
        top, left = y * (height + 1), x * (width + 1)
        whole[top : top + height, left : left + width] = image
    buffer = io.BytesIO()
    Image.fromarray(whole if channels == 3 else whole[..., 0]).save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
