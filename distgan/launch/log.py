"""A display beside which every run has its ``train.log``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from distgan.errors import first_line
from distgan.launch.progress import Progress
from distgan.runs.clock import clock
from distgan.runs.log import RunLog
from distgan.training.control import Status

if TYPE_CHECKING:
    from distgan.launch.start import Display, Plan, Result

_SECONDS_BETWEEN_LINES = 30.0


class LoggedDisplay:
    """Passes everything on to a display, and writes it into the run's log as plain lines.

    Use it as a context manager, so that the log also says which error ended a run.
    """

    def __init__(self, display: Display, plan: Plan) -> None:
        self._display = display
        self._log = RunLog(plan.storage)
        self._progress = Progress(plan.config, plan.resumed_at)
        self._last_line = 0.0

    def __enter__(self) -> LoggedDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._log.add(f"ended by {type(error).__name__}: {first_line(error)}")
        self._log.close()

    def start(self, plan: Plan) -> None:
        """The run is about to start."""
        self._log.add(plan.describe())
        if plan.resumed_at:
            self._log.add(f"going on from {plan.resumed_at:,} {self._progress.counted}")
        self._display.start(plan)

    def note(self, text: str, kind: str = "") -> None:
        """A line of its own."""
        self._log.add(text)
        self._display.note(text, kind)

    def progress(self, status: Status) -> None:
        """Log what was measured, and in intervals how far the run has come."""
        for line in self._progress.update(status):
            self._log.add(line)
        now = time.monotonic()
        if status.record and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._log.add(self._progress.line())
        self._display.progress(status)

    def finish(self, result: Result) -> None:
        """How it ended."""
        if self._progress.status.record:
            self._log.add(self._progress.line())
        ended = f"stopped by {result.stopped}" if result.stopped else "done"
        seen = f"{result.images_seen:,} {self._progress.counted}"
        self._log.add(f"{ended}: {seen} in {clock(result.seconds)}")
