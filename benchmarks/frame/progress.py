"""How far a benchmark is: a bar with the time left, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class Shown:
    """Turns of the comparison at hand; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} turns"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name, self._begun, self._first, self._last = "", 0.0, 0, 0.0

    def __enter__(self) -> Shown:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def begin(self, name: str, done: int, total: int) -> None:
        """The next comparison, of which some turns may be done already."""
        self._name, self._begun, self._first = name, time.monotonic(), done
        self._last = self._begun
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(escape(name), total=total, completed=done)
        if not self.console.is_terminal:
            self.note(f"{name}: getting ready")

    def update(self, side: str, done: int, total: int) -> None:
        """The turn of a side begins when so many are done."""
        now = time.monotonic()
        if done == self._first:
            self._begun = now  # Getting ready is no measure of what is left.
        if self.console.is_terminal and self._task is not None:
            words = f"{escape(self._name)} [dim]{escape(side)}[/dim]"
            self._bar.update(self._task, description=words, completed=done, total=total)
        elif now - self._last >= _SECONDS_BETWEEN_LINES and done > self._first:
            self._last = now
            left = (now - self._begun) / (done - self._first) * (total - done)
            self.note(f"{self._name}: {done} of {total} turns, about {left:.0f} s left")

    def note(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, style="dim", markup=False, soft_wrap=True)
