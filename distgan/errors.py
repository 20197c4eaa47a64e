"""The one exception that means: the user can mend this; and how foreign text is put into words.

Names, values and reasons that come out of files or off a command line are foreign text: they
may hold a terminal's control sequences, bytes that are no text, or megabytes.
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Iterable
from typing import Any, ClassVar


class UserError(Exception):
    """A mistake in a command, a configuration or a file, said in one line.

    The message names the field or file, the value found and what to do; the
    command line prints it without a traceback and exits with ``exit_code``.
    """

    exit_code: ClassVar[int] = 2
    """What the command line exits with; a shell script can tell by it what happened."""


class IllHealthError(UserError):
    """A run that ended itself for its health."""

    exit_code = 3


class LostWorkersError(UserError):
    """A run whose workers were lost more often than it was to start them again."""

    exit_code = 4


class AllTrialsDivergedError(UserError):
    """A search in which no trial came to its end in good health."""

    exit_code = 5


class AllTrialsFailedError(UserError):
    """A search in which no trial came to its end, as their processes crashed."""

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
"""For people; each error class holds its own."""


_LONGEST_VALUE = 80
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _LONGEST_VALUE
_REPR.maxlong = 40


def printable(text: str) -> str:
    """``text`` without anything that a terminal would obey instead of showing.

    Control characters, marks that turn the direction of writing, and bytes of file names that
    are not UTF-8 become the replacement character; line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _is_shown(char) else "\N{REPLACEMENT CHARACTER}" for char in text)


def _is_shown(char: str) -> bool:
    # Cc are control characters, Cs lone surrogates (how Python keeps bytes that are not UTF-8),
    # and of the formats (Cf) those that reorder what stands around them.
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
        # A repr of a foreign object may raise anything; its type is all there is to say then.
        return f"<{type(value).__name__}>"


def first_line(error: BaseException, limit: int = 200) -> str:
    """The first line of what a library says of a failure, or its type where it says nothing."""
    lines = str(error).strip().splitlines()
    text = printable(lines[0]) if lines else type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def one_line(error: BaseException, limit: int = 200) -> str:
    """All that a library says of a failure, whose first line may be no more than a heading."""
    text = " ".join(str(error).split())
    return first_line(ValueError(text), limit) if text else type(error).__name__


def listed(names: Iterable[object], most: int = 20) -> str:
    """Names with commas between them; of many the first ``most``, and how many more there are."""
    every = [printable(str(name)) for name in names]
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
