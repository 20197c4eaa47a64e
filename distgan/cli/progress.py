"""Progress of a long preparation: a bar, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_SECONDS_BETWEEN_LINES = 5.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f}/s", style="progress.data.speed")


class Preparation:
    """Shows the progress of `distgan.data.prepare.prepare`; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> Preparation:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(Text(text, "dim"), soft_wrap=True)

    def update(self, what: str, done: int, total: int) -> None:
        """Record that ``done`` of ``total`` is done; redraw or, at intervals, print a line."""
        now = time.monotonic()
        started = self._started.setdefault(what, now)
        if self._console.is_terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._tasks[what], completed=done, total=total)
        elif now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = done / max(now - started, 1e-9)
            left = f"  ETA {(total - done) / rate:.0f} s" if done and now > started else ""
            speed = f"  {rate:,.0f}/s" if now > started else ""
            line = f"{done:,} of {total:,} {what} ({done / max(total, 1):.0%}){speed}{left}"
            self._console.print(line, soft_wrap=True)
