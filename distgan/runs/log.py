"""``train.log``: the lines that a run shows, with the time of each."""

from __future__ import annotations

import time

from distgan.errors import UserError, printable
from distgan.storage.storage import AppendLog, Storage

LOG = "train.log"

_SECONDS_BETWEEN_UPLOADS = 60.0


class RunLog:
    """Appends lines to the log of a run. What cannot be written costs lines, never the run.

    Where the run lies on a local disk, each line is written at once. Elsewhere the file is
    uploaded once a minute, and by `close`.

    Args:
        storage: the run's folder, written to for its owner.
    """

    def __init__(self, storage: Storage) -> None:
        self._uploaded = time.monotonic()
        self._log: AppendLog | None = None
        # One that cannot be read is not written anew, which would lose what it holds.
        try:
            self._log = AppendLog(storage, LOG)
        except (OSError, UserError):
            return

    def add(self, line: str) -> None:
        """Write a line; control characters and line breaks in it are replaced."""
        if self._log is None:
            return
        moment = time.strftime("%Y-%m-%d %H:%M:%S")
        # What fails is kept and written with the next line.
        try:
            self._log.append(f"{moment}  {' '.join(printable(line).split(chr(10)))}")
            if time.monotonic() - self._uploaded >= _SECONDS_BETWEEN_UPLOADS:
                self._uploaded = time.monotonic()
                self._log.publish()
        except (OSError, UserError):
            return

    def close(self) -> None:
        """Upload what is left, and close the file."""
        log, self._log = self._log, None
        if log is None:
            return
        try:
            log.close()
        except (OSError, UserError):
            return
