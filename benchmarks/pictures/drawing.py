"""Charts as SVG: a light card of its own, so that light and dark pages show the same."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

INK, FAINT, GRID, CARD = "#1f2933", "#52606d", "#d9e0e7", "#ffffff"
OURS, OTHERS = "#2563a8", "#a3afbb"
LINES = ("#2563a8", "#b4451f", "#2f7d4f", "#7a3e9d")
"""Colours that also differ in brightness."""
WIDTH = 640
"""Of every chart: text of 15 stays readable where a phone shows it at half the size."""


class Drawing:
    """An SVG that is added to from back to front; lengths are in pixels of a `WIDTH` wide card."""

    def __init__(self, height: int, title: str, said: str) -> None:
        self._parts: list[str] = []
        self._height, self._title = height, title
        self.text(20, 32, title, size=19, bold=True)
        self.text(20, 54, said, size=13, colour=FAINT)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: int = 15,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
    ) -> None:
        """Words whose baseline begins, ends or has its middle at a point."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" '
            f'text-anchor="{anchor}"{weight}>{escape(words)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" '
            f'fill="{colour}"/>'
        )

    def line(
        self,
        points: Sequence[tuple[float, float]],
        colour: str = GRID,
        width: float = 1,
        dashes: str = "",
    ) -> None:
        """A line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"'
            f'{dashed} stroke-linejoin="round"/>'
        )

    def dot(self, x: float, y: float, colour: str, hollow: bool = False) -> None:
        """A small disc, or a ring."""
        fill = CARD if hollow else colour
        self._parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{colour}" '
            'stroke-width="2"/>'
        )

    def svg(self) -> str:
        """The whole picture."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self._height}" '
            f'width="{WIDTH}" height="{self._height}" role="img" '
            'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif">'
        )
        card = (
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{self._height - 1}" rx="8" '
            f'fill="{CARD}" stroke="{GRID}"/>'
        )
        title = f"<title>{escape(self._title)}</title>"
        return "\n".join([head, title, card, *self._parts, "</svg>", ""])
