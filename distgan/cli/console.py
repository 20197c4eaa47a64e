"""All output to the terminal: foreign text is displayed, never interpreted.

Paths, names of classes and messages of libraries may hold square brackets, which rich would
read as markup, terminal control sequences, bytes that are not UTF-8, or characters that the
terminal's encoding lacks. Verbs print through `say` and `screen` only.
"""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
import textwrap
from typing import Any

from rich.console import Console
from rich.text import Text

from distgan.errors import printable

Part = str | tuple[str, str]
"""Text, or text and its style."""


def say(text: str, *, error: bool = False, end: str = "\n") -> None:
    """Print text, without styles, to stdout or as an ``error`` to stderr."""
    stream = sys.stderr if error else sys.stdout
    _replace_what_is_lacking(stream)
    print(printable(text), end=end, file=stream, flush=True)


def text(*parts: Part) -> Text:
    """A rich text of parts with or without a style, for a table or a line of `screen`."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(words), style) for words, style in pairs))


WIDEST = 100
"""Columns of prose in a terminal; longer lines of text are hard to follow."""


def wrapped(words: str, width: int, indent: str = "") -> list[str]:
    """Prose as lines of up to ``width`` columns; a longer word, such as a URI, stays whole."""
    return textwrap.wrap(
        words,
        max(width, 30),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def screen() -> Console:
    """A console on stdout that reads no markup in text."""
    _replace_what_is_lacking(sys.stdout)
    return _Screen(markup=False, emoji=False, highlight=False)


class _Screen(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, through which every string passes, including those in tables."""
        return super().render_str(printable(text), **options)


def command(*words: str) -> str:
    """A command of distgan, quoted so that it can be pasted into a shell."""
    return " ".join(["distgan", *map(quoted, words)])


def quoted(word: str) -> str:
    """A word quoted for a shell; unprintable characters become ``$'...'`` escapes of bash and
    zsh."""
    if word == printable(word) and not {"\n", "\t"} & set(word):
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(char: str) -> str:
    if char.isascii() and char.isprintable() and char not in "\\'":
        return char
    # A byte that is not UTF-8, as Python represents it in a file name.
    kept = "\udc80" <= char <= "\udcff"
    return "".join(
        f"\\x{b:02x}" for b in char.encode(errors="surrogateescape" if kept else "replace")
    )


def _replace_what_is_lacking(stream: Any) -> None:
    """Make a stream replace characters that its encoding lacks; the default is to raise."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        with contextlib.suppress(ValueError):  # Closed: printing says so itself.
            stream.reconfigure(errors="replace")
