"""The outermost exception handler: whatever a verb raises becomes one or two lines of text and
an exit status."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence

from distgan import __version__
from distgan.errors import UserError, first_line
from distgan.launch.signals import interrupts_kept

MISTAKE, FAULT, INTERRUPTED = 2, 1, 130
"""Exit statuses: an error that the user can correct; a fault of distgan or a library; Ctrl-C."""

DEBUG = "DISTGAN_DEBUG"
"""Environment variable with which a traceback is shown and not only written to a file."""

_LONGEST_LINE, _ENDING = 1_500, 400
_LONGEST_COMMAND, _LONGEST_WORD = 400, 100

_OF_THE_USER = frozenset(
    getattr(errno, name)
    for name in (
        *("EACCES", "EPERM", "ENOENT", "ENOTDIR", "EISDIR", "ENAMETOOLONG", "ELOOP", "EROFS"),
        *("ENOSPC", "EDQUOT", "EFBIG", "ENXIO", "ENODEV", "EEXIST", "ENOTEMPTY", "ETXTBSY"),
        *("EMFILE", "EIO", "ESTALE", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT"),
        *("EHOSTUNREACH", "ENETUNREACH"),
    )
    if hasattr(errno, name)
)
"""`OSError` numbers that mean missing, forbidden or unsuitable files and addresses."""


def guarded(words: Sequence[str], run: Callable[[], int]) -> int:
    """Run a verb and return its exit status; only `SystemExit` passes.

    Args:
        words: the command line after ``distgan``, for the report of a fault.
    """
    try:
        with interrupts_kept():
            status = run()
        sys.stdout.flush()
        return status
    except UserError as error:
        _say(f"distgan: {one_line(str(error))}")
        return error.exit_code
    except BrokenPipeError:
        _give_up_printing()
        return FAULT
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit:
        raise
    except OSError as error:
        if error.errno not in _OF_THE_USER:
            return _fault(words, error)
        _say(f"distgan: {one_line(_of_file(error))}")
        _give_up_printing()
        return MISTAKE
    except BaseException as error:  # Libraries written in Rust raise their own BaseException.
        return _fault(words, error)


def _give_up_printing() -> None:
    """Discard unprinted output, which Python would flush at exit, and raise once more."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def one_line(message: str) -> str:
    """A message without line breaks; the middle of a very long one is left out."""
    line = " ".join(message.splitlines())
    if len(line) <= _LONGEST_LINE:
        return line
    cut = len(line) - _LONGEST_LINE
    start = _LONGEST_LINE - _ENDING
    return f"{line[:start]} ... ({cut:,} letters left out) ... {line[-_ENDING:]}"


def _of_file(error: OSError) -> str:
    said = error.strerror or first_line(error)
    # Errors of pyarrow have no file name; their message holds it.
    if error.filename is None:
        return said
    return f"{os.fsdecode(error.filename)}: {said}" if _is_path(error.filename) else said


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes | os.PathLike)


def _fault(words: Sequence[str], error: BaseException) -> int:
    """Print what failed, write the traceback to a file, and print how to report it."""
    what = f"{type(error).__name__}: {first_line(error)}"
    if isinstance(error, MemoryError):
        what = "memory ran out"
    told = _command(words)
    _say(f"distgan: `{told}` failed: {what}")
    report = _report(told, error)
    if os.environ.get(DEBUG) or {"-v", "--verbose"} & set(words):
        _say(report)
    _say(f"  this is a fault of distgan, not yours; please report it with {_written(report)}")
    return FAULT


def _say(line: str) -> None:
    from distgan.cli.console import say

    with contextlib.suppress(BrokenPipeError):
        say(line, error=True)


def _command(words: Sequence[str]) -> str:
    """The command, shortened, and without the values of environment variables."""
    shown = []
    for before, word in zip(("", *words), words, strict=False):
        if before == "--env" or word.startswith("--env="):
            word = f"{word.removeprefix('--env=').partition('=')[0]}=..."
        shown.append(word)
    line = " ".join(["distgan", *(shlex.quote(word[:_LONGEST_WORD]) for word in shown)])
    return line if len(line) <= _LONGEST_COMMAND else f"{line[:_LONGEST_COMMAND]} ..."


def _report(command: str, error: BaseException) -> str:
    system = f"Python {platform.python_version()} on {platform.platform()}"
    # The last 50 frames: an unlimited recursion has thousands.
    trace = "".join(traceback.format_exception(error, limit=-50))
    return f"distgan {__version__}, {system}\n{command}\n\n{trace}"


def _written(report: str) -> str:
    """The path of the written report, or how to print it where no file can be written."""
    try:
        handle, path = tempfile.mkstemp(prefix="distgan-fault-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(report)
    except OSError:
        return f"what it prints under {DEBUG}=1"
    return f"{path}, which holds the command, the versions and the traceback"
