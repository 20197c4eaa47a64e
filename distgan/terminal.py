"""What a person sees of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from distgan.export import CARD, WEIGHTS
from distgan.health.diagnosis import HEALTHY
from distgan.health.treatment import ALARM
from distgan.launch.start import Plan, Result
from distgan.loop import Status
from distgan.records import EVENTS, METRICS
from distgan.storage import join

_SECONDS_BETWEEN_LINES = 5.0
_SPEED_WINDOW = 20
"""Progress reports, a few a second, that the speed shown is averaged over."""


class Terminal:
    """Shows one run on a `rich.console.Console`; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._live: Live | None = None
        self._plan: Plan | None = None
        self._status = Status(0)
        self._marks: deque[tuple[float, int]] = deque(maxlen=_SPEED_WINDOW)
        self._last_line = 0.0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def start(self, plan: Plan) -> None:
        """Say what is about to run."""
        self._plan = plan
        images, shape = plan.images, plan.images.shape
        size = f"{shape.height}x{shape.width}x{shape.channels}"
        self.console.print(
            f"[bold]{plan.config.recipe}[/bold] on {plan.config.data} "
            f"({images.count:,} images, {size}) -> {plan.storage.uri}",
            soft_wrap=True,
        )
        if plan.resumed_at:
            self.note(f"going on from {plan.resumed_at:,} images")
        if self.console.is_terminal:
            self._live = Live(
                Spinner("dots", "[dim]getting ready[/dim]"),
                console=self.console,
                refresh_per_second=8,
                transient=True,
            )
            self._live.start()

    def note(self, text: str) -> None:
        """A line of its own; of an illness, in a colour that is seen."""
        alarm = text.startswith(ALARM) and "healthy again" not in text
        style = "yellow" if alarm else "dim"
        self.console.print(Text(text, style), soft_wrap=True)

    def progress(self, status: Status) -> None:
        """Take in how far the run has come, and redraw or, now and then, print a line."""
        now = time.monotonic()
        if self._marks and status.images_seen < self._marks[-1][1]:
            # Back at a checkpoint: the speed is that of going on.
            self._marks.clear()
        if not self._marks or status.images_seen != self._marks[-1][1]:
            self._marks.append((now, status.images_seen))
        self._status = status
        if self._live is not None:
            self._live.update(self._panel())
        elif status.images_seen and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.console.print(self._line(), soft_wrap=True)

    def finish(self, result: Result) -> None:
        """Say how it ended, where everything lies, and what to do next."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        path = result.path
        before = self._plan.resumed_at if self._plan else 0
        if result.stopped and result.images_seen > before:
            self.console.print(
                f"stopped by {result.stopped} at {result.images_seen:,} images; "
                f"a checkpoint is written\n  go on      distgan train --resume {path}",
                soft_wrap=True,
            )
            return
        if result.stopped:
            self.console.print(
                f"stopped by {result.stopped} before the first update\n"
                f"  go on      distgan train --resume {path}",
                soft_wrap=True,
            )
            return
        lines = {
            "samples": join(path, f"samples/images-{result.images_seen:012d}.png"),
            "generator": f"{join(path, WEIGHTS['ema'])} (rebuilt by {CARD})",
            "metrics": f"{join(path, METRICS)}, or: tensorboard --logdir {join(path, EVENTS)}",
            "sample": f"distgan sample {path}",
            "go on": f"distgan train --resume {path} --images {2 * result.images_seen}",
        }
        self.console.print(
            f"[bold]done[/bold]: {result.images_seen:,} images in {clock(result.seconds)}",
            soft_wrap=True,
        )
        for name, text in lines.items():
            self.console.print(f"  [cyan]{name:<10}[/cyan] {text}", soft_wrap=True)

    def _speed(self) -> float:
        (then, before), (now, seen) = self._marks[0], self._marks[-1]
        return (seen - before) / (now - then) if now > then else 0.0

    def _remaining(self) -> str:
        assert self._plan is not None
        speed = self._speed()
        left = max(0, self._plan.config.images - self._status.images_seen)
        return clock(left / speed) if speed else "--:--"

    def _line(self) -> str:
        assert self._plan is not None
        seen, total = self._status.images_seen, self._plan.config.images
        parts = [f"{seen:,} of {total:,} images ({seen / max(total, 1):.0%})"]
        parts += [f"{name} {value}" for name, value in self._values()]
        if speed := self._speed():
            parts += [f"{speed:,.0f} images/s", f"ETA {self._remaining()}"]
        return "  ".join(parts)

    def _values(self) -> list[tuple[str, str]]:
        names = {
            "D loss": "d_loss",
            "G loss": "g_loss",
            "D(x)": "d_real",
            "D(G(z))": "d_fake",
            "|grad D|": "d_grad_norm",
            "|grad G|": "g_grad_norm",
            "augment p": "augment_p",
        }
        record = self._status.record
        found = [(shown, f"{record[key]:.3f}") for shown, key in names.items() if key in record]
        ill = record.get("health", HEALTHY) != HEALTHY
        return [*found, ("health", str(record["health"]))] if ill else found

    def _panel(self) -> RenderableType:
        assert self._plan is not None
        seen, total = self._status.images_seen, self._plan.config.images
        epoch = seen // self._plan.images.count + 1
        top = Table.grid(padding=(0, 2))
        top.add_row(
            ProgressBar(total=max(total, 1), completed=min(seen, total), width=30),
            f"[bold]{seen:,}[/bold] of {total:,} images",
            f"epoch {epoch}",
            f"{self._speed():,.0f} images/s",
            f"ETA [bold]{self._remaining()}[/bold]",
        )
        values = "   ".join(f"[dim]{name}[/dim] {value}" for name, value in self._values())
        return Group(top, Text.from_markup(values or "[dim]first record soon[/dim]"))


def clock(seconds: float) -> str:
    """``h:mm:ss``, or ``m:ss`` of less than an hour."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
