"""The display of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections import deque

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table

from distgan.cli.console import Part, command, quoted, screen, text
from distgan.health.diagnosis import HEALTHY
from distgan.health.recovery import ILL
from distgan.launch.start import Plan, Result
from distgan.runs.clock import clock
from distgan.runs.export import CARD
from distgan.runs.records import EVENTS, METRICS
from distgan.storage.storage import join
from distgan.training.control import Status

_SECONDS_BETWEEN_LINES = 5.0
_SPEED_WINDOW = 20
"""Progress reports, a few a second, over which the displayed speed is averaged."""


class Terminal:
    """Shows one run on a `rich.console.Console`; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or screen()
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
        """Print what is about to run."""
        self._plan = plan
        images, shape = plan.images, plan.images.shape
        size = f"{shape.height}x{shape.width}x{shape.channels}"
        self._say(
            (plan.config.recipe, "bold"),
            f" on {plan.config.data} ({images.count:,} images, {size}) -> {plan.storage.uri}",
        )
        if plan.resumed_at:
            self.note(f"going on from {plan.resumed_at:,} images")
        if self.console.is_terminal:
            self._live = Live(
                Spinner("dots", text(("getting ready", "dim"))),
                console=self.console,
                refresh_per_second=8,
                transient=True,
            )
            self._live.start()

    def note(self, line: str, kind: str = "") -> None:
        """Print a line; warnings of the health monitor are coloured."""
        self._say((line, "yellow" if kind == ILL else "dim"))

    def progress(self, status: Status) -> None:
        """Record the run's progress; redraw or, at intervals, print a line."""
        now = time.monotonic()
        if self._marks and status.images_seen < self._marks[-1][1]:
            # Rolled back to a checkpoint: the speed is measured anew from here.
            self._marks.clear()
        if not self._marks or status.images_seen != self._marks[-1][1]:
            self._marks.append((now, status.images_seen))
        self._status = status
        if self._live is not None:
            self._live.update(self._panel())
        elif status.images_seen and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._say(self._line())

    def finish(self, result: Result) -> None:
        """Print how it ended, where the files are, and what to do next."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        path = result.path
        before = self._plan.resumed_at if self._plan else 0
        go_on = ("train", "--resume", path)
        if result.stopped:
            when = "before the first update"
            if result.images_seen > before:
                when = f"at {result.images_seen:,} images; a checkpoint is written"
            self._say(f"stopped by {result.stopped} {when}")
            self._say(f"  go on      {command(*go_on)}")
            return
        lines = {
            "samples": join(path, f"samples/images-{result.images_seen:012d}.png"),
            "model": f"{join(path, CARD)}, and the .safetensors that it names",
            "metrics": f"{join(path, METRICS)}, or: tensorboard --logdir "
            f"{quoted(join(path, EVENTS))}",
            "sample": command("sample", path),
            "go on": command(*go_on, "--images", str(2 * result.images_seen)),
        }
        self._say(("done", "bold"), f": {result.images_seen:,} images in {clock(result.seconds)}")
        for name, said in lines.items():
            self._say("  ", (f"{name:<10}", "cyan"), f" {said}")

    def _say(self, *parts: Part) -> None:
        self.console.print(text(*parts), soft_wrap=True)

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
            "loss": "loss",
            "ELBO": "elbo",
            "KL": "kl",
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
            text((f"{seen:,}", "bold"), f" of {total:,} images"),
            f"epoch {epoch}",
            f"{self._speed():,.0f} images/s",
            text("ETA ", (self._remaining(), "bold")),
        )
        values: list[Part] = []
        for name, value in self._values():
            values += ["   " if values else "", (name, "dim"), f" {value}"]
        return Group(top, text(*values or [("first record soon", "dim")]))
