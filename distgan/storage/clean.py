"""Leftover files of distgan on this machine outside of runs: caches, and files of killed processes.

The API of `distgan clean`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from distgan.data.sources.named import cache_folder
from distgan.errors import UserError, brief
from distgan.storage.scratch import PREFIX, abandoned

_SECONDS_TO_WRITE = 3600.0
"""Age after which an incomplete file counts as abandoned by its writer."""
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
    with contextlib.suppress(OSError):
        for path in sorted(cache_folder().iterdir()):
            statistics = path.name == "statistics"
            found.append(
                _leftover(path, "cache of real images' statistics" if statistics else "download")
            )
    for folder in folders:
        found += [_leftover(path, "never finished") for path in _half_written(folder)]
    return found


def remove(leftover: Leftover) -> None:
    """Remove it.

    Raises:
        UserError: when that is not allowed.
    """
    try:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{leftover.path}: cannot be removed ({error.strerror})") from None


def _half_written(folder: str) -> Iterator[Path]:
    top = Path(folder)
    if not top.is_dir():
        raise UserError(f"FOLDER {brief(folder)}: there is no such folder on this machine")
    end, begin = _HALF_WRITTEN
    for path in sorted({*top.glob(".*"), *top.glob("*/.*")}):
        if not path.is_file() or path.is_symlink():
            continue
        old = time.time() - path.stat().st_mtime > _SECONDS_TO_WRITE
        if old and (path.name.endswith(end) or path.name.startswith(begin)):
            yield path


def _leftover(path: Path, what: str) -> Leftover:
    size = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(folder, name)).st_size
    if not path.is_dir():
        size = path.lstat().st_size
    return Leftover(path, what, size)
