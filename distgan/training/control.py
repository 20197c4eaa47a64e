"""What a run in training tells, and is told, from outside; all ranks agree on what they hear."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol

import torch

from distgan.parallel import World
from distgan.runs import records

_SECONDS_BETWEEN_TICKS = 0.25

PREEMPTION, RESIZE = "PREEMPTION", "RESIZE"
"""A machine is about to be taken away; the run is to go on with another number of workers."""
SIGNALS = ("", "SIGINT", "SIGTERM", PREEMPTION, RESIZE)
"""What a run may be asked to stop for; it writes a checkpoint first."""


@dataclass(frozen=True)
class Status:
    """How far a run has come; ``record`` holds the newest record's values.

    ``furthest`` is how far it had come by its records when it was started, this time.
    """

    images_seen: int
    record: records.Record = field(default_factory=dict)
    furthest: int = 0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``stopped`` is the one of `SIGNALS` that asked for it, or empty."""

    images_seen: int
    stopped: str = ""


class Control(Protocol):
    """Rank 0's wire to whoever started the run. Calls must return at once."""

    def report(self, status: Status) -> None:
        """Take note of progress."""

    def note(self, text: str, kind: str = "") -> None:
        """Pass on something that deserves a line of its own.

        With a ``kind`` it is an event, which the run's folder remembers.
        """

    def stop_signal(self) -> str:
        """Which of `SIGNALS` asks the run to stop, or an empty string."""
        ...


class NoControl:
    """Tells nobody and is told nothing: for the ranks that do not lead."""

    def report(self, status: Status) -> None: ...  # noqa: D102
    def note(self, text: str, kind: str = "") -> None: ...  # noqa: D102
    def stop_signal(self) -> str:  # noqa: D102
        return ""


class Ticker:
    """A few times a second: report progress, and agree on whether to stop.

    Ranks may only agree at a step they all reach, so rank 0 announces, each time, after
    how many steps the next tick is due.
    """

    def __init__(self, world: World, control: Control) -> None:
        self._world, self._control = world, control
        self._steps = self._due = 1
        self._last = time.perf_counter()

    def tick(self, status: Status) -> str:
        """The signal to stop for, the same on all ranks, or an empty string."""
        self._due -= 1
        if self._due > 0:
            return ""
        now = time.perf_counter()
        pace = _SECONDS_BETWEEN_TICKS / max(now - self._last, 1e-6) * self._steps
        self._last = now
        signal = SIGNALS.index(self._control.stop_signal()) if self._world.leads else 0
        plan = torch.tensor([signal, max(1, min(round(pace), 2 * self._steps, 1000))])
        signal, self._steps = self._world.broadcast(plan).tolist()
        self._due = self._steps
        if self._world.leads:
            self._control.report(status)
        return SIGNALS[signal]
