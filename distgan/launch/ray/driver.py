"""The driver's view of a run on Ray: progress, lines, and what befell it, until it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from distgan.errors import UserError
from distgan.launch.ray.messages import Channel
from distgan.launch.signals import StopRequest
from distgan.launch.start import Display
from distgan.runs import checkpoint
from distgan.runs.events import NOT_LOGGED, EventLog
from distgan.storage.storage import Storage
from distgan.training.control import Status

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_WITHOUT_MESSAGES = 120.0
"""How long messages may fail to be read before that ends the driver."""
_LOSSES = ("worker lost", "worker failed")
_DOWN = (*_LOSSES, "waiting")
"""Events after which there are no workers until they start again."""


LOST = (
    "Ray's processes were ended at the same time, as by a signal to a whole process group; what "
    "came after the newest checkpoint is lost"
)


class Follower:
    """Shows what the workers and Ray Train's controller tell, and passes a stop on to them.

    Args:
        settle: called once, when training runs.
        lost: whether the cluster is gone, asked after a stop.
    """

    def __init__(
        self,
        channel: Channel,
        display: Display,
        stop: StopRequest,
        storage: Storage,
        settle: Callable[[], None],
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self._mailbox, self._display, self._stop, self._settle = channel, display, stop, settle
        self._storage, self._events, self._lost = storage, EventLog(storage), lost
        self._start, self._workers, self._told = "", 0, 0
        self._notes_of, self._noted = "", 0
        self._seen, self._moved_at = 0, time.monotonic()
        self._up = self._fell = False
        self._away_since = 0.0

    def follow(self, fit: Thread) -> None:
        """Until the thread ends, or a stop finds no workers that could hear it."""
        passed_on = ""
        while fit.is_alive():
            fit.join(_SECONDS_BETWEEN_LOOKS)
            self._look()
            if self._stop.name and not passed_on:
                passed_on = self._pass_on(self._stop.name)
            if passed_on and not self._up:
                break
            if self._stop.name and self._lost():
                self._say(LOST, "")
                break
        self._events.flush()
        with contextlib.suppress(OSError, UserError):
            self._storage.clear_unfinished()

    def _pass_on(self, stop: str) -> str:
        # Where the disk of the messages is full, or the head of the cluster away, the next look
        # may find it better.
        try:
            self._mailbox.put("stop", stop)
        except Exception:
            return ""
        return stop

    def _read(self, topic: str) -> Any:
        try:
            found = self._mailbox.get(topic)
        except Exception:
            # The head of the cluster may be away for a moment.
            now = time.monotonic()
            self._away_since = self._away_since or now
            if now - self._away_since > _SECONDS_WITHOUT_MESSAGES:
                raise
            return None
        self._away_since = 0.0
        return found

    @property
    def saved(self) -> int:
        """Images seen by the newest checkpoint."""
        found = checkpoint.index(self._storage)
        return int(found[-1]["images_seen"]) if found else 0

    def _look(self) -> None:
        news = self._read("news")
        if news is not None and news["start"] != self._notes_of:
            self._notes_of, self._noted = news["start"], 0
        if news is not None:
            for text, kind in news["notes"][self._noted :]:
                self._say(text, kind)
            self._noted = len(news["notes"])
        fell, told = self._fell, self._read("told") or []
        for text, kind in told[self._told :]:
            self._up = self._up and kind not in _DOWN
            if kind in _LOSSES and not self._start:
                self._fell, self._moved_at = True, time.monotonic()
            self._say(text, kind)
        self._told = max(self._told, len(told))
        if news is not None and news["status"] is not None:
            self._progress(news, fell)

    def _progress(self, news: dict[str, Any], fell: bool) -> None:
        status = Status(**news["status"])
        if news["start"] != self._start:
            # Workers may be lost before anything is heard of them.
            if self._start or fell:
                self._again(status, news["workers"])
            if not self._start:
                self._settle()
            self._start, self._workers, self._up = news["start"], news["workers"], True
        if status.images_seen != self._seen:
            self._seen, self._moved_at = status.images_seen, time.monotonic()
        if self._up:
            self._display.progress(status)

    def _again(self, status: Status, workers: int) -> None:
        images, seconds = status.images_seen, time.monotonic() - self._moved_at
        repeated = max(0, max(self._seen, status.furthest) - images)
        who = f"{workers} worker{'s' if workers > 1 else ''}"
        if self._workers in (0, workers):
            kind, text = "restarted", f"restarted from {images:,} images with {who}"
        else:
            kind, text = "resized", f"now {who}, from {images:,} images"
        text += f"; {seconds:.0f} s lost, {repeated:,} images repeated"
        self._seen = images
        facts = {"workers": workers, "images_repeated": repeated, "seconds": round(seconds, 1)}
        self._say(text, kind, **facts)

    def _say(self, text: str, kind: str, **facts: Any) -> None:
        self._display.note(text, kind)
        if kind and kind not in NOT_LOGGED:
            self._events.add(kind, text, self._seen, **facts)
