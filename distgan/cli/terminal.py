"""The display of a run: a live panel, or plain lines where there is no terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from distgan.cli.console import Part, command, screen, text
from distgan.cli.pictures import Picture, protocol
from distgan.errors import UserError
from distgan.families.registry import counted, translates
from distgan.health.recovery import ILL
from distgan.launch.progress import Progress
from distgan.launch.start import Plan, Result, further
from distgan.runs import samples
from distgan.runs.clock import clock
from distgan.runs.events import PREPARING
from distgan.runs.export import CARD
from distgan.runs.records import METRICS
from distgan.training.control import Status
from distgan.training.profile import FOLDER as PROFILE

_SECONDS_BETWEEN_LINES = 5.0
_SECONDS_BETWEEN_PICTURES = 60.0
_MOST_MEASURED = 6
"""Values of metrics in the panel; the lines above it and the summary have all."""


class Terminal:
    """Shows one run on a `rich.console.Console`; use it as a context manager.

    Args:
        pictures: whether the newest grid of samples may be shown where the terminal can.
    """

    def __init__(self, console: Console | None = None, *, pictures: bool = True) -> None:
        self.console = console or screen()
        self._pictures = protocol(os.environ) if pictures and self.console.is_terminal else ""
        self._live: Live | None = None
        self._plan: Plan | None = None
        self._progress: Progress | None = None
        self._spinner = Spinner("dots")
        self._began = time.monotonic()
        self._last_line = 0.0
        self._pictured: int | None = None
        self._last_picture = 0.0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_live()

    def start(self, plan: Plan) -> None:
        """Print what is about to run."""
        self._plan, self._progress = plan, Progress(plan.config, plan.resumed_at)
        what, arrow, where = plan.describe().partition(" -> ")
        recipe, rest = what[: len(plan.config.recipe)], what[len(plan.config.recipe) :]
        # On a narrow terminal the place has a line of its own.
        narrow = self.console.is_terminal and len(what + arrow + where) > self.console.width
        self._say((recipe, "bold"), rest, "\n " if narrow else "", arrow + where)
        if plan.resumed_at:
            self.note(f"going on from {plan.resumed_at:,} {self._progress.counted}")
        if self.console.is_terminal:
            self._wait_for("getting ready")
            self._live = Live(self._spinner, console=self.console, refresh_per_second=8)
            self._live.start()

    def note(self, line: str, kind: str = "") -> None:
        """Print a line; warnings of the health monitor are coloured.

        What a run waits for before its first update is shown in the place of the panel.
        """
        if kind == PREPARING and self._live is not None:
            self._wait_for(line)
        else:
            self._say((line, "yellow" if kind == ILL else "dim"))

    def progress(self, status: Status) -> None:
        """Record the run's progress; redraw or, at intervals, print a line."""
        assert self._progress is not None
        assert self._plan is not None
        for line in self._progress.update(status):
            self._say(line)
        now = time.monotonic()
        if self._live is not None:
            if status.record or status.images_seen != self._plan.resumed_at:
                self._live.update(self._panel())
            else:
                compiles = (
                    " (compiling takes a minute)" if self._plan.config.compile == "on" else ""
                )
                self._wait_for(f"waiting for the first update{compiles}")
            if now - self._last_picture >= _SECONDS_BETWEEN_PICTURES:
                self._show_picture(status.sampled)
        elif status.images_seen and now - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._say(self._progress.line())

    def finish(self, result: Result) -> None:
        """Print how it ended, where the files are, and what to do next."""
        progress, path = self._progress, result.path
        self._stop_live()
        if progress is not None:
            self._show_picture(progress.status.sampled)
        config = None if self._plan is None else self._plan.config
        family = "" if config is None else config.family
        seen = f"{result.images_seen:,} {counted(family)}"
        go_on = ("train", "--resume", path)
        if result.stopped:
            when = "before the first update"
            if result.images_seen > (self._plan.resumed_at if self._plan else 0):
                when = f"at {seen}; a checkpoint is written"
            self._say(f"stopped by {result.stopped} {when}")
            self._tell(dict(progress.measured()) if progress is not None else {})
            self._tell({"go on": command(*go_on)})
            return
        use = "translate" if translates(family) else "sample"
        self._say(("done", "bold"), f": {seen} in {clock(result.seconds)}")
        self._tell(dict(progress.measured()) if progress is not None else {})
        self._tell(
            {
                "files": path,
                "samples": f"{samples.name(result.images_seen)} in it, {METRICS}",
                "model": f"{CARD} in it, and the .safetensors that it names",
                **self._profiled(),
                "report": command("report", path),
                "evaluate": command("evaluate", path),
                use: command(use, path),
                "go on": command(*go_on, "--images", further(result.images_seen)),
            }
        )

    def _profiled(self) -> dict[str, str]:
        if self._plan is None or not self._plan.config.output.profile:
            return {}
        return {"profile": f"{PROFILE}/ in it, for https://ui.perfetto.dev or chrome://tracing"}

    def _tell(self, lines: dict[str, str]) -> None:
        for name, said in lines.items():
            self._say("  ", (f"{name:<10}", "cyan"), f" {said}")

    def _say(self, *parts: Part) -> None:
        self.console.print(text(*parts), soft_wrap=True)

    def _stop_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            if live.renderable is self._spinner:
                # It would stay as if something were still going on.
                live.transient = True
            live.stop()

    def _wait_for(self, what: str) -> None:
        self._spinner.update(text=_Waiting(what, self._began))

    def _show_picture(self, sampled: int | None) -> None:
        # The first grid, from before any update, is noise.
        if not self._pictures or not sampled or sampled == self._pictured:
            return
        assert self._plan is not None
        self._pictured, self._last_picture = sampled, time.monotonic()
        try:
            png = self._plan.storage.read(samples.name(sampled))
            picture = Picture(png, self._pictures)
        except (OSError, UserError, ValueError):
            # It is there to be looked at in the folder, too.
            return
        self.console.print(picture, soft_wrap=True)

    def _panel(self) -> RenderableType:
        assert self._progress is not None
        assert self._plan is not None
        progress, width = self._progress, self.console.width
        seen, total = progress.status.images_seen, progress.total
        count = text(
            (f"{seen:,}", "bold"),
            f" of {total:,} {progress.counted}",
            (f"  {progress.share()}", "dim"),
        )
        bar = ProgressBar(
            total=max(total, 1), completed=min(seen, total), width=max(8, min(40, width - 48))
        )
        top = Table.grid(padding=(0, 2))
        top.add_row(bar, count)
        where = [
            ("epoch", f"{seen // self._plan.images.count + 1}"),
            ("speed", f"{progress.speed():,.0f} {progress.counted}/s"),
            ("ETA", progress.remaining()),
        ]
        rows = [*_flow(where, width), *_flow(progress.values(), width)]
        measured = progress.measured()
        for name, said in measured[:_MOST_MEASURED]:
            rows.append(text((name, "dim"), f" {said}"))
        if left := len(measured) - _MOST_MEASURED:
            rows += [text((f"and {left} more values", "dim"))] if left > 0 else []
        for row in rows:
            row.no_wrap, row.overflow = True, "ellipsis"
        return Group(top, *rows)


class _Waiting:
    """What is waited for, with the seconds since the start, counted whenever it is drawn."""

    def __init__(self, what: str, began: float) -> None:
        self._what, self._began = what, began

    def __rich__(self) -> Text:
        return text((f"{self._what}, {time.monotonic() - self._began:.0f} s", "dim"))


def _flow(pairs: Sequence[tuple[str, str]], width: int) -> list[Text]:
    """Names and values side by side, in as many lines of this width as they need."""
    lines: list[Text] = []
    for name, value in pairs:
        part = text((name, "dim"), f" {value}")
        if lines and lines[-1].cell_len + 3 + part.cell_len <= width:
            lines[-1] = Text.assemble(lines[-1], "   ", part)
        else:
            lines.append(part)
    return lines
