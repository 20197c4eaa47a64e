"""What ends trials early, or has them go on from better ones: Ray Tune's, in rungs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    TrialScheduler,
)

from distgan.tune.record import Measured
from distgan.tune.settings import TuneSettings

_FEW = 3
"""Other trials that the median rule wants to have seen."""


class Asha(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Asynchronous successive halving (Li et al. 2020), which can be told of earlier trials."""

    def recall(self, trial_id: str, history: Iterable[Measured]) -> None:
        """Take in what a trial had reached before this search was stopped."""
        trial = SimpleNamespace(trial_id=trial_id)
        for measured in history:
            # To be told of a trial's end is to be told of a result, without a verdict on it.
            self.on_trial_add(None, trial)
            self.on_trial_complete(None, trial, {"rung": measured.rung, "value": measured.value})


class Median(MedianStoppingRule):  # type: ignore[misc]
    """The median stopping rule (Golovin et al. 2017, "Google Vizier", section 3.2.2).

    Ends a trial whose best value so far is worse than the median of the other trials' running
    means up to the same rung. Can be told of earlier trials, as `Asha` can.
    """

    def recall(self, trial_id: str, history: Iterable[Measured]) -> None:
        """Take in what a trial had reached before this search was stopped."""
        told = [{"rung": measured.rung, "value": measured.value} for measured in history]
        if told:
            self._results[trial_id] = told

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial goes on."""
        if trial.trial_id in self._results:
            self._results[trial] = self._results.pop(trial.trial_id)
        return str(super().on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, *_: Any) -> None:
        """Its last result was heard; Ray Tune's own rule would count it twice."""

    def _on_insufficient_samples(self, *_: Any) -> str:
        # Ray Tune's own would have it wait for others, which ends the process that trains it.
        return str(TrialScheduler.CONTINUE)


class Population(FIFOScheduler):  # type: ignore[misc]
    """Has members wait for each other after every rung.

    What they do then is theirs to decide: see `distgan.tune.population`.

    Args:
        reached: the rungs that members had come to before this search was stopped, by number.
        concurrent: members that train at a time.
    """

    def __init__(self, reached: Mapping[int, int], concurrent: int) -> None:
        super().__init__()
        self._reached, self._concurrent = dict(reached), concurrent

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Have a member wait for the others; one that is over is let go."""
        if result.get("over"):
            return str(TrialScheduler.STOP)
        self._reached[_number(trial)] = result["rung"]
        return str(TrialScheduler.PAUSE)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next of the members that have come least far; none that died is waited for."""
        live = sorted(tune_controller.get_live_trials(), key=_number)
        if not live or sum(t.status == t.RUNNING for t in live) >= self._concurrent:
            return None
        # Ray Tune makes the next member when the last one that it made has been started. Of a
        # search that goes on, one that is made may have come as far as those that wait already.
        pending = [t for t in live if t.status == t.PENDING]
        if pending:
            return pending[0]
        last = min(self._reached.get(_number(trial), 0) for trial in live)
        waiting = [t for t in live if t.status == t.PAUSED]
        return next((t for t in waiting if self._reached.get(_number(t), 0) == last), None)


def _number(trial: Any) -> int:
    return int(trial.config["trial"]["number"])


def scheduler(
    settings: TuneSettings, reached: Mapping[int, int], concurrent: int
) -> TrialScheduler:
    """The one that a search asks for; its time is counted in rungs, and so in images seen.

    Args:
        reached: see `Population`.
        concurrent: likewise.
    """
    mode = "min" if settings.lower_is_better else "max"
    if settings.scheduler == "asha":
        return Asha(
            time_attr="rung",
            metric="value",
            mode=mode,
            grace_period=1,
            reduction_factor=settings.reduction,
            max_t=max(settings.max_images // settings.rung, 1),
        )
    if settings.scheduler == "pbt":
        return Population(reached, concurrent)
    if settings.scheduler == "median":
        return Median(
            time_attr="rung", metric="value", mode=mode, grace_period=1, min_samples_required=_FEW
        )
    return FIFOScheduler()
