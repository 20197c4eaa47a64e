"""Temporary folders that do not outlive their process for long, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

_LOCK = ".in-use"


class Scratch:
    """A temporary folder, removed by `close`; one of a killed process, by the next `Scratch`.

    A lock on a file inside says that the process lives, also to processes that cannot see
    its number, as in another container.

    Args:
        prefix: of the folder's name; only those of this prefix are cleared away.
    """

    def __init__(self, prefix: str) -> None:
        _clear(prefix)
        self.path = tempfile.mkdtemp(prefix=prefix)
        self._lock = os.open(f"{self.path}/{_LOCK}", os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _clear(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # Without the file, its process has not come to locking it, or is another user's.
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
