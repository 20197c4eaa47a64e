"""Pictures inside a terminal, where its environment says that it shows them.

Nothing is asked of the terminal itself: one that does not answer would hang the command.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import ControlType, Segment

_ROWS = 16
"""Height of a picture, in lines of text."""
_SIXEL_HEIGHT, _SIXEL_COLOURS = 20 * _ROWS, 64
"""Of a sixel picture, whose size is in pixels: a line of text is about 20 high."""
_CHUNK = 4096
"""Longest part of a picture in one escape sequence of kitty's protocol."""

_SIXEL_TERMS = ("foot", "mlterm", "yaft", "contour")
"""Values of TERM, or what they begin with, of terminals that show sixels."""


def protocol(environment: Mapping[str, str]) -> str:
    """How the terminal shows pictures: ``kitty``, ``iterm``, ``sixel``, or empty for not at all.

    Args:
        environment: variables of the process, such as TERM and TERM_PROGRAM.
    """
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("tmux", "screen")):
        # A multiplexer between swallows the sequences, and inherits the terminal's variables.
        return ""
    if term in ("xterm-kitty", "xterm-ghostty") or "KITTY_WINDOW_ID" in environment:
        return "kitty"
    if program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm"):
        return "iterm"
    return "sixel" if term.startswith(_SIXEL_TERMS) or term.endswith("-sixel") else ""


class Picture:
    """A picture as something that rich prints, in one of the protocols of `protocol`.

    Args:
        png: the bytes of a PNG.
    """

    def __init__(self, png: bytes, kind: str) -> None:
        self._sequence = {"kitty": _kitty, "iterm": _iterm, "sixel": _sixel}[kind](png)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Marked as a control sequence, so that it is neither measured nor wrapped, and is left
        # out where there is no terminal.
        yield Segment(self._sequence, None, [(ControlType.CARRIAGE_RETURN,)])
        yield Segment.line()


def _kitty(png: bytes) -> str:
    # https://sw.kovidgoyal.net/kitty/graphics-protocol/: a=T shows, f=100 is PNG, r are rows of
    # text, q=2 wants no answer, m=1 says that more follows.
    content = base64.standard_b64encode(png).decode()
    chunks = [content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        keys = f"a=T,f=100,r={_ROWS},q=2," if number == 0 else ""
        parts.append(f"\x1b_G{keys}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts)


def _iterm(png: bytes) -> str:
    # https://iterm2.com/documentation-images.html
    keys = f"inline=1;size={len(png)};height={_ROWS};preserveAspectRatio=1"
    return f"\x1b]1337;File={keys}:{base64.standard_b64encode(png).decode()}\x07"


def _sixel(png: bytes) -> str:
    # DEC's VT330/VT340 Programmer Reference Manual, chapter 14: bands of six rows, in each a
    # line of characters for every colour, whose low six bits are the column's pixels.
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((4 * _SIXEL_HEIGHT, _SIXEL_HEIGHT))
    indexed = picture.quantize(_SIXEL_COLOURS)
    pixels: NDArray[np.uint8] = np.asarray(indexed)
    colours = np.asarray(indexed.getpalette(), np.int64).reshape(-1, 3)
    percent = (colours * 100 + 127) // 255
    parts = [f'\x1bP0;1q"1;1;{picture.width};{picture.height}']
    parts += [f"#{n};2;{r};{g};{b}" for n, (r, g, b) in enumerate(percent.tolist())]
    for top in range(0, picture.height, 6):
        parts += [*_band(pixels[top : top + 6]), "-"]
    return "".join([*parts, "\x1b\\"])


def _band(rows: NDArray[np.uint8]) -> Iterator[str]:
    bits = 1 << np.arange(len(rows))
    for colour in np.unique(rows).tolist():
        line = bits @ (rows == colour) + 63
        runs = [(chr(value), len(list(run))) for value, run in groupby(line.tolist())]
        text = "".join(f"!{count}{char}" if count > 3 else char * count for char, count in runs)
        yield f"#{colour}{text}$"
