"""What a search comes to: the best configuration, how sure that is, and what it cost."""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.errors import AllTrialsDivergedError, AllTrialsFailedError, UserError
from distgan.families.registry import to_yaml
from distgan.storage.storage import Storage
from distgan.tune import welch
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space
from distgan.tune.table import trial_table

BEST, SUMMARY = "best.yaml", "summary.json"


@dataclass(frozen=True)
class Comparison:
    """A configuration against the recipe's, each trained with fresh seeds.

    ``low`` and ``high`` bound the difference of the means, this one's less the recipe's, with
    95% confidence (Welch 1947), of all ``comparisons`` together (Bonferroni). They are None where
    neither side's values vary, so that nothing says what other seeds would give.
    """

    number: int
    values: list[float]
    recipe: list[float]
    difference: float
    low: float | None
    high: float | None
    verdict: str
    """``better``, ``worse`` or ``not distinguishable``."""
    comparisons: int = 1
    """Configurations that were compared with the recipe."""


@dataclass(frozen=True)
class Found:
    """How a search stands. ``best`` is None before a trial has finished healthily."""

    path: str
    trials: list[Trial]
    best: Trial | None
    noise: list[int]
    """Numbers of other finished trials whose intervals overlap the best one's."""
    comparisons: list[Comparison]
    images: int
    """That all trials of the search saw, confirmations aside."""
    images_of_all: int
    """That they would have seen, had each run to its end."""
    stopped: str = ""
    seconds: float = 0.0

    @property
    def saved(self) -> float:
        """Share of the images that ending trials early spared, 0 to 1."""
        # Trials end at whole batches, a few images late.
        return max(0.0, 1 - self.images / self.images_of_all) if self.images_of_all else 0.0


def ranked(trials: Sequence[Trial], settings: TuneSettings) -> list[Trial]:
    """Finished trials of the search itself, the best first."""
    done = [t for t in trials if t.confirms is None and t.state == "finished" and t.final]
    sign = 1 if settings.lower_is_better else -1
    return sorted(done, key=lambda trial: sign * _final(trial))


def sum_up(
    path: str,
    trials: list[Trial],
    settings: TuneSettings,
    stopped: str = "",
    seconds: float = 0.0,
) -> Found:
    """Everything that follows from the trials."""
    order = ranked(trials, settings)
    best = order[0] if order else None
    noise = [t.number for t in order[1:] if best is not None and _overlap(best, t)]
    searched = [t for t in trials if t.confirms is None]
    return Found(
        path,
        trials,
        best,
        noise,
        _comparisons(trials, settings),
        sum(trial.images for trial in searched),
        # What ill trials would have cost is not spared by the scheduler alone, but is spared.
        settings.max_images * len(searched),
        stopped,
        seconds,
    )


def failure(found: Found) -> UserError | None:
    """Why a search that was not stopped has no best trial, with the first cause."""
    searched = [t for t in found.trials if t.confirms is None]
    if found.best is not None or found.stopped or not searched:
        return None
    failed = [t for t in searched if t.state == "failed"]
    ill = [t for t in searched if t.state == "ill"]
    early = len(searched) - len(failed) - len(ill)
    rest = f" ({early} ended early)" if early else ""
    if failed:
        others = f", {len(ill)} diverged" if ill else ""
        return AllTrialsFailedError(
            f"no trial came to its end: {len(failed)} of {len(searched)} failed{others}{rest}; the "
            f"first, trial {failed[0].number}: {failed[0].why}; mend that, then go on with "
            f"--resume {found.path}"
        )
    first = f"; the first, trial {ill[0].number}: {ill[0].why}" if ill else ""
    return AllTrialsDivergedError(
        f"no trial came to its end: {len(ill)} of {len(searched)} diverged or collapsed{rest}"
        f"{first}; search lower learning rates, or another recipe"
    )


def _final(trial: Trial) -> float:
    assert trial.final is not None
    return trial.final.value


def _overlap(one: Trial, other: Trial) -> bool:
    a, b = one.final, other.final
    assert a is not None
    assert b is not None
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return False
    return a.low <= b.high and b.low <= a.high


def _comparisons(trials: Sequence[Trial], settings: TuneSettings) -> list[Comparison]:
    groups: dict[int, list[float]] = {}
    for trial in trials:
        if trial.confirms is not None and trial.final is not None:
            groups.setdefault(trial.confirms, []).append(trial.final.value)
    recipe, ill = groups.get(0, []), lost(trials)
    rivals = {
        number: values
        for number, values in groups.items()
        if number != 0 and len(values) > 1 and len(recipe) > 1
    }
    found = [
        compare(number, values, recipe, settings.lower_is_better, len(rivals))
        for number, values in rivals.items()
    ]
    return [_without_luck(comparison, ill) for comparison in found]


def _without_luck(found: Comparison, ill: Mapping[int, Any]) -> Comparison:
    # Seeds that are left where others fell ill were chosen by their having done well.
    lucky = found.number in ill if found.verdict == "better" else 0 in ill
    return replace(found, verdict="not distinguishable") if lucky else found


def lost(trials: Sequence[Trial]) -> dict[int, tuple[int, int]]:
    """By trial, 0 for the recipe: how many of its fresh seeds fell ill or failed, of how many."""
    found: dict[int, tuple[int, int]] = {}
    for trial in trials:
        if trial.confirms is not None:
            ill, all_of_it = found.get(trial.confirms, (0, 0))
            ill += trial.state in ("ill", "failed")
            found[trial.confirms] = (ill, all_of_it + 1)
    return {number: counts for number, counts in found.items() if counts[0]}


def compare(
    number: int,
    values: list[float],
    recipe: list[float],
    lower_is_better: bool,
    comparisons: int = 1,
) -> Comparison:
    """Welch's interval of the difference of two means.

    Args:
        values: at least two.
        recipe: at least two.
        comparisons: that the recipe has in all.
    """
    difference = statistics.fmean(values) - statistics.fmean(recipe)
    low, high = welch.interval(values, recipe, comparisons) or (None, None)
    verdict = "not distinguishable"
    if low is not None and high is not None and (low > 0 or high < 0):
        verdict = "better" if (difference < 0) == lower_is_better else "worse"
    return Comparison(number, values, recipe, difference, low, high, verdict, comparisons)


def write(storage: Storage, found: Found, base: RunConfig, space: Space, s: TuneSettings) -> None:
    """Write the best configuration, the summary and the tables of all trials.

    Raises:
        UserError: when the folder cannot be written.
    """
    if found.best is not None:
        # What is best after so many images need not be after more: the file says how many.
        changes = {**space.changes(found.best.point), "images": s.max_images}
        storage.write(BEST, to_yaml(override(base, changes)))
    storage.write(SUMMARY, json.dumps(_summary(found, s), indent=2) + "\n")
    table = trial_table(found.trials, base, space, s)
    for name, writer in (("csv", pa.csv.write_csv), ("parquet", pa.parquet.write_table)):
        buffer = io.BytesIO()
        writer(table, buffer)
        storage.write(f"trials.{name}", buffer.getvalue())


def _summary(found: Found, settings: TuneSettings) -> dict[str, Any]:
    return {
        "metric": settings.metric,
        "best": found.best.number if found.best else None,
        "within_noise_of_best": found.noise,
        "comparisons": [asdict(comparison) for comparison in found.comparisons],
        "images": found.images,
        "images_of_all_in_full": found.images_of_all,
        "saved": round(found.saved, 4),
        "seconds_of_trials": round(sum(t.seconds for t in found.trials), 1),
        "stopped": found.stopped,
    }
