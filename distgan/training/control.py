"""Progress reports and stop requests of a training run; all ranks agree on a request."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from distgan.parallel import World
from distgan.runs import records

_SECONDS_BETWEEN_TICKS = 0.25

PREEMPTION, RESIZE = "PREEMPTION", "RESIZE"
"""Stop requests: a machine is about to be preempted; the number of workers is to change."""
SIGNALS = ("", "SIGINT", "SIGTERM", PREEMPTION, RESIZE)
"""Reasons for which a run may be asked to stop; it writes a checkpoint first."""


@dataclass(frozen=True)
class Status:
    """The progress of a run; ``record`` holds the newest record's values.

    Before the first record it holds the means so far, marked ``interim``. ``furthest`` is the
    number of images of the last record at this start of the run; up to there, images are
    repeated. ``measured`` is `distgan.evaluate.evaluation.standing` of the newest evaluation
    since this start, and ``sampled`` the images seen at the newest grid of samples.
    """

    images_seen: int
    record: records.Record = field(default_factory=dict)
    furthest: int = 0
    measured: dict[str, Any] = field(default_factory=dict)
    sampled: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``stopped`` is the one of `SIGNALS` that stopped it, or empty."""

    images_seen: int
    stopped: str = ""


class Control(Protocol):
    """Rank 0's connection to the process that started the run. Calls must return at once."""

    def report(self, status: Status) -> None:
        """Send the progress."""

    def note(self, text: str, kind: str = "") -> None:
        """Display a line of text.

        With a ``kind`` it is also an event, which is recorded in the run's folder.
        """

    def stop_signal(self) -> str:
        """The one of `SIGNALS` that asks the run to stop, or an empty string."""
        ...


class NoControl:
    """Does nothing: the control of ranks other than 0."""

    def report(self, status: Status) -> None: ...  # noqa: D102
    def note(self, text: str, kind: str = "") -> None: ...  # noqa: D102
    def stop_signal(self) -> str:  # noqa: D102
        return ""


class Ticker:
    """A few times a second: report progress, and agree among ranks on whether to stop.

    Agreement is a collective operation, so all ranks must run it at the same step: each time,
    rank 0 broadcasts after how many steps the next one is due.
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
