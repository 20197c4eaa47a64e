"""What a search comes to, in words: for the terminal and for the report."""

from __future__ import annotations

from typing import Any

from distgan.runs.clock import clock
from distgan.tune.record import Trial
from distgan.tune.results import Comparison, Found, failure, lost
from distgan.tune.settings import TuneSettings


def conclusion(found: Found, settings: TuneSettings, seconds: bool = True) -> list[str]:
    """The lines that say what a search comes to."""
    lines = []
    counts: dict[str, int] = {}
    for trial in found.trials:
        if trial.confirms is None:
            counts[trial.state] = counts.get(trial.state, 0) + 1
    stands = ", ".join(f"{number} {state}" for state, number in counts.items())
    lines.append(stands + (f" in {clock(found.seconds)}" if seconds else ""))
    if failure(found) is not None:
        # Which gives one reason for all; the others stand in the table.
        return lines
    for trial in found.trials:
        if trial.state in ("ill", "failed"):
            lines.append(f"  trial {trial.number} {trial.state}: {trial.why}")
    if any(trial.state == "failed" for trial in found.trials) and not found.stopped:
        lines.append(f"  trials that failed get another try with --resume {found.path}")
    if found.best is None:
        return [*lines, "no trial has come to its end yet"]
    lines.append(
        f"best is trial {found.best.number}: {settings.metric} {value_of(found.best)}   "
        f"{brief(found.best) or 'the recipe as it is'}"
    )
    if found.noise:
        names = ", ".join(str(number) for number in found.noise)
        lines.append(f"  trial {names} cannot be told from it: the intervals overlap")
    lines += [f"  {_sentence(comparison, settings)}" for comparison in found.comparisons]
    for number, (ill, seeds) in lost(found.trials).items():
        who = f"trial {number}" if number else "the recipe"
        lines.append(f"  {who}: {ill} of its {seeds} fresh seeds fell ill or failed")
    lines.append(
        f"all trials together saw {found.images:,} images, {found.saved:.0%} less than "
        f"{found.images_of_all:,} in full"
    )
    return lines


def _sentence(found: Comparison, settings: TuneSettings) -> str:
    ours, theirs = (sum(v) / len(v) for v in (found.values, found.recipe))
    bounds = "no seed changes either, so nothing says how far other seeds would"
    if found.low is not None and found.high is not None:
        together = f" for all {found.comparisons} together" if found.comparisons > 1 else ""
        bounds = f"95%{together}: {found.low:+.4g} to {found.high:+.4g}"
    return (
        f"trial {found.number} with {len(found.values)} fresh seeds: {settings.metric} "
        f"{ours:.4g} against the recipe's {theirs:.4g}, difference {found.difference:+.4g} "
        f"({bounds}): {found.verdict}"
    )


def value_of(trial: Trial) -> str:
    """The objective with half its interval, in brackets before the last measurement."""
    last = trial.final or (trial.history[-1] if trial.history else None)
    if last is None:
        return ""
    if trial.final is None:
        return f"({last.value:.4g})"
    if last.low is None or last.high is None:
        return f"{last.value:.4g}"
    return f"{last.value:.4g} ± {(last.high - last.low) / 2:.2g}"


def brief(trial: Trial) -> str:
    """What a trial changed, short."""
    return " ".join(f"{short(name)}={_short(value)}" for name, value in trial.changes.items())


def short(name: str) -> str:
    """The end of a dotted name that people know it by, with G or D before it."""
    parts = name.split(".")
    player = {"generator": "G ", "discriminator": "D "}.get(parts[0], "")
    last = parts[-1] if parts[-1] != "name" else parts[-2]
    return f"{player}{last}"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
