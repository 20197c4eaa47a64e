"""The display of a search: a live table, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table as RichTable

from distgan.cli.console import Part, command, screen, text
from distgan.families.registry import translates
from distgan.runs.clock import clock
from distgan.tune import results
from distgan.tune.record import Trial
from distgan.tune.results import Found
from distgan.tune.search import Plan
from distgan.tune.settings import TuneSettings
from distgan.tune.summary_text import brief, conclusion, value_of

_SECONDS_BETWEEN_LINES = 10.0
_ROWS = 16
_STYLES = {
    "running": "cyan",
    "finished": "green",
    "ill": "yellow",
    "failed": "red",
    "ended early": "dim",
}


class Table:
    """Shows one search on a `rich.console.Console`; use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or screen()
        self._live: Live | None = None
        self._plan: Plan | None = None
        self._told: set[int] = set()
        self._line_at = self._start = time.monotonic()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def start(self, plan: Plan) -> None:
        """Print what is about to be searched."""
        self._plan, settings = plan, plan.settings
        way = settings.scheduler if settings.scheduler != "none" else "whole trials"
        kind = "members" if settings.scheduler == "pbt" else "trials"
        number = "a grid" if settings.search == "grid" else f"{settings.samples} {kind}"
        self._say(
            (plan.base.recipe, "bold"),
            f" on {plan.base.data}: {number} of {settings.max_images:,} images, "
            f"{settings.search} search, {way} -> {plan.storage.uri}",
        )
        for name in plan.space.texts:
            self.note(f"  {name:<32} {plan.space.texts[name]}")
        self.note(
            f"{settings.metric} of {settings.num:,} images at the end, of {settings.rung_num:,} "
            f"every {settings.rung:,} images before"
        )
        if self.console.is_terminal:
            self._live = Live(console=self.console, refresh_per_second=4, transient=True)
            self._live.start()

    def note(self, line: str) -> None:
        """Print a line."""
        self._say((line, "dim"))

    def show(self, trials: list[Trial], news: dict[int, dict[str, Any]]) -> None:
        """Redraw, or print a line for each trial that ended and, at intervals, for the others."""
        assert self._plan is not None
        for trial in trials:
            if trial.over and trial.number not in self._told:
                self._told.add(trial.number)
                self._say(_line(trial, self._plan.settings))
        if self._live is not None:
            self._live.update(self._drawn(trials, news))
            return
        now = time.monotonic()
        if now - self._line_at >= _SECONDS_BETWEEN_LINES and news:
            self._line_at = now
            parts = [f"{number}: {told.get('images', 0):,} images" for number, told in news.items()]
            done = f"{len(self._told)} over, running " + ", ".join(parts)
            self._say((done, "dim"))

    def finish(self, found: Found) -> None:
        """Print the outcome, where the files are, and what to do next."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        assert self._plan is not None
        for line in conclusion(found, self._plan.settings):
            self._say(line)
        path = found.path
        if found.stopped:
            self._say(f"stopped by {found.stopped}; running trials have written checkpoints")
            self._say(f"  go on      {command('tune', '--resume', path)}")
        lines = {}
        if found.best is not None:
            lines["best"] = command("train", "--config", f"{path}/{results.BEST}")
            use = "translate" if translates(self._plan.base.family) else "sample"
            lines["its images"] = command(use, f"{path}/trials/{found.best.name}")
        lines["all trials"] = f"{path}/trials.csv, {path}/trials.parquet"
        lines["report"] = command("report", path)
        for name, said in lines.items():
            self._say("  ", (f"{name:<10}", "cyan"), f" {said}")

    def _say(self, *parts: Part) -> None:
        self.console.print(text(*parts), soft_wrap=True)

    def _drawn(self, trials: list[Trial], news: dict[int, dict[str, Any]]) -> RichTable:
        assert self._plan is not None
        settings = self._plan.settings
        table = RichTable(box=None, pad_edge=False, header_style="dim")
        for heading in ("trial", "state", "images", settings.metric, "settings"):
            right = heading in ("trial", "images", settings.metric)
            table.add_column(heading, justify="right" if right else "left", no_wrap=True)
        running = [t for t in trials if t.number in news and not t.over]
        rest = results.ranked(trials, settings)
        others = [t for t in trials if t not in running and t not in rest]
        for trial in [*running, *rest, *reversed(others)][:_ROWS]:
            state = "running" if trial in running else trial.state
            images = max(news.get(trial.number, {}).get("images", 0), trial.images)
            done = f"{images / settings.max_images:4.0%} {images:>9,}"
            name = f"{trial.number}" + (
                f" ({trial.confirms})" if trial.confirms is not None else ""
            )
            shown = text((state, _STYLES.get(state, "")))
            table.add_row(name, shown, done, value_of(trial), text(brief(trial)))
        table.caption = f"{clock(time.monotonic() - self._start)} so far"
        table.caption_justify = "left"
        return table


def _line(trial: Trial, settings: TuneSettings) -> Part:
    what = f"trial {trial.number} {trial.state}"
    if trial.confirms is not None:
        what = f"trial {trial.confirms} again, seed {trial.seed}, {trial.state}"
    parts = [what, f"{trial.images:,} images"]
    if trial.final is not None or trial.history:
        parts.append(f"{settings.metric} {value_of(trial)}")
    parts.append(trial.why if trial.state in ("ill", "failed") else brief(trial))
    return "  ".join(part for part in parts if part), _STYLES.get(trial.state, "")
