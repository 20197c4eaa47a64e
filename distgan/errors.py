"""`UserError`, for what the user can correct, and the quoting of foreign text in messages.

Names, values and reasons from files or a command line are foreign text: they may hold terminal
control sequences, bytes that are not UTF-8, or megabytes.
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Iterable
from typing import Any, ClassVar


class UserError(Exception):
    """A mistake in a command, a configuration or a file, described in one line.

    The message names the field or file, the value found and what to do; the
    command line prints it without a traceback and exits with ``exit_code``.
    """

    exit_code: ClassVar[int] = 2
    """Exit status of the command line, by which a shell script can tell what happened."""


class IllHealthError(UserError):
    """A run that stopped because its health checks failed."""

    exit_code = 3


class LostWorkersError(UserError):
    """A run that lost its workers more often than it was allowed to restart them."""

    exit_code = 4


class AllTrialsDivergedError(UserError):
    """A search in which no trial ended healthy."""

    exit_code = 5


class AllTrialsFailedError(UserError):
    """A search in which no trial ended, because their processes crashed."""

    exit_code = 6


EXIT_CODES = """\
exit codes:
  0  done
  1  a job on a cluster that failed, or an error that distgan did not foresee
  2  a mistake in the command, a setting or a file
  3  training diverged or collapsed
  4  workers were lost too often
  5  every trial of a search diverged
  6  every trial of a search crashed
  130, 143  stopped by Ctrl-C, by SIGTERM
"""
"""The exit statuses as help text; each error class holds its own."""


_LONGEST_VALUE = 80
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _LONGEST_VALUE
_REPR.maxlong = 40


def printable(text: str) -> str:
    """``text`` without characters that a terminal would interpret instead of displaying.

    Control characters, bidirectional formatting marks, and bytes of file names that are not
    UTF-8 become U+FFFD; line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_shown(char) else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_shown(char: str) -> bool:
    # Categories: Cc, control characters; Cs, lone surrogates, by which Python represents bytes
    # that are not UTF-8; of Cf, format characters, only those that reorder text.
    if char in "\n\t":
        return True
    kind = unicodedata.category(char)
    return kind not in ("Cc", "Cs", "Zl", "Zp") and char not in _REORDERING


_REORDERING = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def brief(value: Any) -> str:
    """A value as an error message names it: its repr, cut where it is long or deep."""
    try:
        return _REPR.repr(value)
    except Exception:
        # The repr of a foreign object may raise anything; then only its type is shown.
        return f"<{type(value).__name__}>"


def first_line(error: BaseException, limit: int = 200) -> str:
    """The first line of an exception's message, or its type where the message is empty."""
    lines = str(error).strip().splitlines()
    text = printable(lines[0]) if lines else type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def one_line(error: BaseException, limit: int = 200) -> str:
    """All that a library says of a failure, whose first line may be no more than a heading."""
    text = " ".join(str(error).split())
    return first_line(ValueError(text), limit) if text else type(error).__name__


def listed(names: Iterable[object], most: int = 20) -> str:
    """Names separated by commas: the first ``most`` of them, and how many more there are."""
    every = [printable(str(name)) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
