"""The recorded states of health of a run over images seen."""

from __future__ import annotations

from dataclasses import dataclass

from distgan.report.reading import RunFolder

STATES = (
    *("healthy", "discriminator wins", "generator wins", "exploding", "collapsing", "collapsed"),
    *("non-finite", "stalled", "posterior collapse", "variance at its bounds"),
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


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
