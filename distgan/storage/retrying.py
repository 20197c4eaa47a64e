"""A run's folder on storage that may fail temporarily: failed operations are retried."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from pyarrow import fs as pafs

from distgan.errors import UserError
from distgan.storage.storage import Storage

T = TypeVar("T")

SECONDS = 120.0
"""How long storage may fail before the run ends; shorter than the timeout of collectives."""

_LONGEST_PAUSE = 8.0
_FINAL = {
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL),
}
"""Errors that are not retried. A full disk is not among them: space may be freed meanwhile."""


class Note(Protocol):
    """Takes a line for the user, and the kind of event that it reports."""

    def __call__(self, text: str, kind: str = "") -> object:
        """Display the line, and record it if it has a kind."""


class RetryingStorage(Storage):
    """A `Storage` that retries failed operations, with pauses of 1, 2, 4, then 8 seconds.

    It reports the failure once, and the recovery once, however many threads are waiting.

    Args:
        note: takes both lines, of the kinds ``storage failing`` and ``storage back``.
        seconds: how long it tries; then the failure is raised.
        owner: see `Storage`.
    """

    def __init__(
        self,
        uri: str | Path,
        note: Note,
        filesystem: pafs.FileSystem | None = None,
        seconds: float = SECONDS,
        *,
        owner: str | None = None,
    ) -> None:
        super().__init__(uri, filesystem, owner=owner)
        self._note, self._seconds = note, seconds
        self._lock = threading.Lock()
        self._failing_since = 0.0

    def attempt(self, action: Callable[[], T]) -> T:
        """The action's result; raises its exception when it still fails after that time."""
        start, pause = time.monotonic(), 1.0
        while True:
            try:
                result = action()
            except (OSError, UserError) as error:
                cause = error.__cause__ if isinstance(error, UserError) else error
                left = start + self._seconds - time.monotonic()
                if not isinstance(cause, OSError) or cause.errno in _FINAL or left <= 0:
                    raise
                self._tell_failure(error)
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._tell_success()
                return result

    def _tell_failure(self, error: Exception) -> None:
        with self._lock:
            if self._failing_since:
                return
            self._failing_since = time.monotonic()
        reason = str(error).split("; what was written")[0].split("; choose another")[0]
        self._note(
            f"storage fails: {reason}; trying again for {self._seconds:.0f} s", "storage failing"
        )

    def _tell_success(self) -> None:
        if not self._failing_since:
            return
        with self._lock:
            since, self._failing_since = self._failing_since, 0.0
        if since:
            self._note(f"storage is back after {time.monotonic() - since:.0f} s", "storage back")
