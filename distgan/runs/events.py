"""Events of a run, such as restarts and failures, one per line: ``events.jsonl``."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from distgan.errors import UserError
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, read_lines

LOG = "events.jsonl"

PREPARING = "preparing"
"""Kind of the notes that say what a run waits for before its first update."""
NOT_LOGGED = ("ill", "healthy again", PREPARING)
"""Kinds of notes that are shown and not logged: every record holds the state of health."""


class EventLog:
    """Adds events to a run's folder. If that fails, they are kept and written with the next one.

    An event has ``time``, ``kind``, ``text`` and ``images`` seen when it was noticed; the kinds
    ``restarted`` and ``resized`` also have ``workers``, ``images_repeated`` and ``seconds``
    without progress.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: list[dict[str, Any]] = []

    def add(self, kind: str, text: str, images: int, **facts: Any) -> None:
        """Write one event."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        event = {"time": moment, "kind": kind, "text": text, "images": images, **facts}
        self._waiting.append(event)
        self.flush()

    def flush(self) -> None:
        """Write unwritten events, if the folder can be written."""
        if not self._waiting:
            return
        try:
            lines = [json.dumps(event) for event in [*read(self._storage), *self._waiting]]
            self._storage.write(LOG, "\n".join(lines) + "\n")
        except (UserError, OSError):
            return
        self._waiting = []


def read(storage: Storage) -> list[dict[str, Any]]:
    """All events of a run, oldest first.

    Raises:
        UserError: for a file that is damaged.
    """
    remedy = "delete the line, or the file, and what befell the run is left out"
    return read_lines(storage, LOG, Shape, remedy)


def count(events: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Number of events of each kind, in the order of their first occurrence."""
    return dict(Counter(str(event.get("kind")) for event in events))
