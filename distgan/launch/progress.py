"""How far a run is, in words: for the terminal, and for the run's ``train.log``."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

from distgan.config.run import RunConfig
from distgan.families import registry
from distgan.health.diagnosis import HEALTHY
from distgan.metrics.names import better
from distgan.runs.clock import clock
from distgan.training.control import Status

_SPEED_WINDOW = 20
"""Progress reports, a few a second, over which the speed is averaged."""

_VALUES = {
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
"""What is shown of a record: the heading, and the name in the record."""


class Progress:
    """Takes the states of a run as they come, and says them in words.

    Attributes:
        status: the newest state.
        total: images at the end of the run.
        counted: what they are, images or clips.
    """

    def __init__(self, config: RunConfig, resumed_at: int = 0) -> None:
        self.status = Status(resumed_at)
        self.total, self.counted = config.total, registry.counted(config.family)
        self._measured: Mapping[str, Mapping[str, float]] = {}
        self._measured_at: int | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=_SPEED_WINDOW)

    def update(self, status: Status) -> list[str]:
        """Take over a new state.

        Returns:
            lines on what was measured since the last one.
        """
        seen = status.images_seen
        if self._marks and seen < self._marks[-1][1]:
            # Rolled back to a checkpoint: the speed is measured anew from here.
            self._marks.clear()
        if not self._marks or seen != self._marks[-1][1]:
            self._marks.append((time.monotonic(), seen))
        self.status = status
        at = status.measured.get("images", self._measured_at)
        if at == self._measured_at:
            return []
        self._measured, self._measured_at = status.measured["values"], at
        measured = self.measured(when=False)
        return [f"at {at:,} {self.counted}: {name} {text}" for name, text in measured]

    def speed(self) -> float:
        """Images a second, of late; 0 where it is not known."""
        marks = tuple(self._marks)
        if len(marks) < 2 or marks[-1][0] <= marks[0][0]:
            return 0.0
        return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])

    def remaining(self) -> str:
        """The time that is left, as ``m:ss``."""
        speed = self.speed()
        return clock(max(0, self.total - self.status.images_seen) / speed) if speed else "--:--"

    def share(self) -> str:
        """How much of the run is done, in percent."""
        return f"{self.status.images_seen / max(self.total, 1):.0%}"

    def line(self) -> str:
        """Where the run is, in one line."""
        seen, what = self.status.images_seen, self.counted
        parts = [f"{seen:,} of {self.total:,} {what} ({self.share()})"]
        parts += [f"{name} {value}" for name, value in self.values()]
        if speed := self.speed():
            parts += [f"{speed:,.0f} {what}/s", f"ETA {self.remaining()}"]
        return "  ".join(parts)

    def values(self) -> list[tuple[str, str]]:
        """What the newest record says: names and values."""
        record = self.status.record
        found = [(shown, f"{record[key]:.3f}") for shown, key in _VALUES.items() if key in record]
        ill = record.get("health", HEALTHY) != HEALTHY
        return [*found, ("health", str(record["health"]))] if ill else found

    def measured(self, *, when: bool = True) -> list[tuple[str, str]]:
        """The newest values of metrics: names, and values beside the best so far.

        Args:
            when: whether to say after how many images the best was measured.
        """
        found = []
        for name, standing in self._measured.items():
            text = f"{standing['value']:.4g}"
            if "best" in standing:
                first = standing["best_at"] == self._measured_at
                at = f" at {int(standing['best_at']):,} {self.counted}" if when else ""
                best = "best so far" if first else f"best {standing['best']:.4g}{at}"
                text += f", {best} ({better(name)} is better)"
            found.append((name, text))
        return found
