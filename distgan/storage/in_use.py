"""Folders on this machine that a living process is filling: a shared lock on each says so."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

SECONDS_TO_WRITE = 3600.0
"""After which a file that was being written, and has not grown since, is no longer."""

UNFINISHED = (".tmp", ".partial")
"""Ends of the names of such files: ours, and those that torch.hub downloads to."""


@contextlib.contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Make a folder that `distgan clean` leaves alone until the block ends or the process dies.

    Any number of processes may use it at a time. On filesystems without locks on folders the age
    of its files has to do; see `unless_in_use`.

    Raises:
        OSError: when it cannot be made or opened.
    """
    handle = _locked(folder)
    try:
        yield
    finally:
        os.close(handle)


def _locked(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        # Whoever held it alone was removing it, and perhaps it was made anew since.
        with contextlib.suppress(FileNotFoundError):
            there, mine = folder.stat(), os.fstat(handle)
            if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                return handle
        os.close(handle)


@contextlib.contextmanager
def unless_in_use(path: Path) -> Iterator[bool]:
    """Whether nobody is filling a folder, or writing a file; nobody begins to until the end.

    Args:
        path: a folder; of a file or a link only the age counts.
    """
    handle, free = None, True
    if path.is_dir() and not path.is_symlink():
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        except OSError:
            # No locks here, or no right to look inside: the age is all there is.
            pass
    try:
        yield free and not any(map(_grows, (path, *path.rglob("*"))))
    finally:
        if handle is not None:
            os.close(handle)


def _grows(path: Path) -> bool:
    if not path.name.endswith(UNFINISHED):
        return False
    try:
        return time.time() - path.lstat().st_mtime < SECONDS_TO_WRITE
    except OSError:
        return False
