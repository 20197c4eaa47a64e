"""Leftover files of distgan on this machine outside of runs: caches, and files of killed processes.

The API of `distgan clean`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distgan.errors import UserError, brief
from distgan.storage.in_use import SECONDS_TO_WRITE, unless_in_use
from distgan.storage.scratch import PREFIX, abandoned, cache_folder, sets_folder

_HALF_WRITTEN = (".tmp", ".probe-")
"""Suffix and prefix of the names of incomplete files."""


@dataclass(frozen=True)
class Leftover:
    """Something that may be removed.

    Attributes:
        path: a file or folder.
        what: short description.
        bytes: its size on the disk.
    """

    path: Path
    what: str
    bytes: int


def find(folders: Sequence[str] = ()) -> list[Leftover]:
    """Everything that may be removed, except what a live process uses.

    Args:
        folders: runs, searches or sets on this machine in which to look for incomplete files,
            directly inside or one folder below.

    Raises:
        UserError: for a folder that does not exist.
    """
    found = [_leftover(path, "of a process that was killed") for path in abandoned(PREFIX)]
    for path, what in _cached():
        with unless_in_use(path) as free:
            if free:
                found.append(_leftover(path, what))
    for folder in folders:
        found += [_leftover(path, "never finished") for path in _half_written(folder)]
    return found


def _cached() -> Iterator[tuple[Path, str]]:
    for path in _inside(cache_folder()):
        if path == sets_folder():
            yield from ((each, "set that `distgan train` prepared") for each in _inside(path))
        else:
            statistics = path.name == "statistics"
            yield path, "cache of real images' statistics" if statistics else "download"


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def remove(leftover: Leftover) -> None:
    """Remove it, unless a process has begun to fill it since it was found.

    Raises:
        UserError: when that is not allowed, or it is in use by now.
    """
    try:
        with unless_in_use(leftover.path) as free:
            if not free:
                raise UserError(f"{leftover.path}: is in use by now, and stays")
            _remove(leftover.path)
    except OSError as error:
        raise UserError(f"{leftover.path}: cannot be removed ({error.strerror})") from None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _half_written(folder: str) -> Iterator[Path]:
    top = Path(folder)
    if not top.is_dir():
        raise UserError(f"FOLDER {brief(folder)}: there is no such folder on this machine")
    end, begin = _HALF_WRITTEN
    for path in sorted({*top.glob(".*"), *top.glob("*/.*")}):
        if not path.is_file() or path.is_symlink():
            continue
        old = time.time() - path.stat().st_mtime > SECONDS_TO_WRITE
        half = path.name.endswith(end) or path.name.startswith(begin)
        if half and old and not _writer_lives(path.name):
            yield path


def _writer_lives(name: str) -> bool:
    """Whether a process of this machine has the number that a file's writer put in its name."""
    found = re.search(r"\.(\d{1,9})\.tmp$", name)
    if not found:
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Another user's.
        pass
    return True


def _leftover(path: Path, what: str) -> Leftover:
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
    if not path.is_dir():
        size = path.lstat().st_size
    return Leftover(path, what, size)
