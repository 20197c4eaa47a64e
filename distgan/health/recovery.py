"""Reactions to a failing run: a warning, a stop, or a rollback with changed settings."""

from __future__ import annotations

import json
from typing import Any

from distgan.config.health import HealthSettings
from distgan.config.run import RunConfig
from distgan.config.settings import leaves, override
from distgan.health.diagnosis import HEALTHY, Verdict
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, read_lines

ILL, HEALTHY_AGAIN = "ill", "healthy again"
"""Kinds of notes on health, as `distgan.training.control.Control.note` takes them."""

_PREFIX = "health:"
"""Prefix of every line about health."""

LOG = "interventions.jsonl"
"""File of a run with one line for each rollback."""


def choose(settings: HealthSettings, verdict: Verdict) -> str:
    """``go on``, ``stop`` or ``roll back``; ``give up`` where only a warning is asked for, but
    values are not finite."""
    if verdict.state == HEALTHY:
        return "go on"
    if settings.action == "warn":
        return "give up" if verdict.state == "non-finite" else "go on"
    return {"stop": "stop", "rollback": "roll back"}[settings.action]


def state_message(verdict: Verdict, images: int) -> str:
    """The line that is displayed for a verdict."""
    if verdict.state == HEALTHY:
        return f"{_PREFIX} healthy again at {images:,} images"
    return f"{_PREFIX} {verdict.state} at {images:,} images: {verdict.evidence}; {verdict.remedy}"


def stop_message(verdict: Verdict, images: int, uri: str) -> str:
    """The error message of a run that stops because of a verdict."""
    if verdict.state == "non-finite":
        return (
            f"training diverged: {verdict.evidence} after {images:,} images; {verdict.remedy}, and "
            f"start anew, or let it help itself with --resume {uri} --health.action rollback"
        )
    return (
        f"stopped after {images:,} images, as --health.action stop asks: {verdict.state}, "
        f"{verdict.evidence}; {verdict.remedy}; a checkpoint is written, and --resume {uri} goes on"
    )


def exhausted_message(verdict: Verdict, images: int, rollbacks: int, uri: str) -> str:
    """The error message of a run that failed again after all its rollbacks."""
    return (
        f"{uri}: {verdict.state} after {images:,} images, also after {rollbacks} rollbacks "
        f"(--health.rollbacks): {verdict.evidence}; {verdict.remedy}"
    )


def changed(config: RunConfig) -> tuple[RunConfig, str]:
    """The configuration after a rollback, and what changed, in words."""
    values = {setting.name: setting.value for setting in leaves(config)}
    changes: dict[str, str] = {}
    if config.health.change in ("halve-lr", "both"):
        for name, value in values.items():
            if f".{name}".endswith(".optimizer.lr"):
                changes[name] = str(value.scaled(0.5))
    if config.health.change in ("double-r1", "both"):
        for name, value in values.items():
            if name.endswith(".penalty.r1"):
                # A weight of 0 cannot be doubled; 0.1 is a weak penalty.
                changes[name] = "0.1" if value.is_zero else str(value.scaled(2))
    said = ", ".join(f"--{name} {value}" for name, value in changes.items())
    return override(config, changes), said


def interventions(storage: Storage) -> list[dict[str, Any]]:
    """The rollbacks of a run so far, oldest first.

    Raises:
        UserError: for a file that is damaged.
    """
    remedy = "delete the line, and that rollback is not counted"
    return read_lines(storage, LOG, Shape, remedy)


def record_intervention(
    storage: Storage, verdict: Verdict, ill_at: int, back_to: int, change: str
) -> None:
    """Add a rollback to the run's folder."""
    entry = {
        "images": ill_at,
        "state": verdict.state,
        "evidence": verdict.evidence,
        "back_to": back_to,
        "change": change,
    }
    lines = [json.dumps(line) for line in [*interventions(storage), entry]]
    storage.write(LOG, "\n".join(lines) + "\n")
