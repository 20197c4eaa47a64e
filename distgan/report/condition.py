"""The recorded states of health of a run over images seen."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import psutil

from distgan.report.reading import RunFolder
from distgan.storage.storage import owner_of

STATES = (
    *("healthy", "discriminator wins", "generator wins", "exploding", "collapsing", "collapsed"),
    *("non-finite", "stalled", "posterior collapse", "variance at its bounds"),
    *("does nothing", "colours inverted", "checkerboard", "input hidden"),
    *("frozen", "flickering", "motion collapse", "drift"),
)
"""States with a colour on the page; any other is grey."""


@dataclass
class Span:
    """Consecutive records in one state."""

    state: str
    start: float
    """Images seen at the record before the first."""
    end: float
    evidence: str = ""
    """From the newest record that has one; so is `remedy`."""
    remedy: str = ""
    actions: str = ""
    """What the monitor did, joined by semicolons."""

    @property
    def style(self) -> str:
        """The state as a CSS class."""
        return self.state.replace(" ", "-") if self.state in STATES else "unknown"


def spans(run: RunFolder) -> list[Span]:
    """The states of a run in order; empty for a run without any."""
    found: list[Span] = []
    before = 0.0
    for record in run.records:
        images, state = float(record["images"]), record.get("health")
        if isinstance(state, str):
            if not found or found[-1].state != state or found[-1].end < before:
                found.append(Span(state, before, images))
            span = found[-1]
            span.end = images
            span.evidence = _text(record.get("evidence")) or span.evidence
            span.remedy = _text(record.get("remedy")) or span.remedy
            span.actions = "; ".join(filter(None, (span.actions, _text(record.get("action")))))
        before = images
    return found


@dataclass(frozen=True)
class Unrecorded:
    """Why a run has no records, and what to do."""

    said: str
    remedy: str
    command: str = ""


def unrecorded(run: RunFolder) -> Unrecorded | None:
    """What to tell of a run without records; None for one that has any."""
    if run.records:
        return None
    every = run.settings.get("output.log_every")
    often = f"after {every:,} images" if isinstance(every, int) else "after a while"
    if _trains(owner_of(run.storage) or {}):
        said = f"No record yet: the run is training, and writes the first {often}."
        return Unrecorded(said, "Make this page again then.")
    return Unrecorded(
        f"Stopped before the first record, which a run writes {often}: there are no curves.",
        "Go on with it; a smaller --output.log_every gives a record sooner:",
        f"distgan train --resume {run.storage.uri}",
    )


def _trains(owner: dict[str, Any]) -> bool:
    """Whether the process that owned a run last is alive; one on another machine counts as not."""
    process = owner.get("process")
    here = owner.get("host") == socket.gethostname()
    return here and isinstance(process, int) and bool(psutil.pid_exists(process))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
