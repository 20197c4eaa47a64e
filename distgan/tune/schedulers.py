"""What ends trials early, or has them go on from better ones: Ray Tune's, in rungs."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from distgan.tune.record import Measured
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

_FEW = 3
"""Other trials that the median rule wants to have seen."""


class Asha(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Asynchronous successive halving (Li et al. 2020), which can be told of earlier trials."""

    def recall(self, trial_id: str, history: Iterable[Measured]) -> None:
        """Take in what a trial had reached before this search was stopped."""
        trial = SimpleNamespace(trial_id=trial_id)
        for measured in history:
            self._brackets[0].on_result(trial, measured.rung, self._metric_op * measured.value)


class Population(PopulationBasedTraining):  # type: ignore[misc]
    """Population-based training (Jaderberg et al. 2017) over a `Space`.

    Args:
        drawn: perturbations that were made before this search was stopped.
        concurrent: members that train at a time.
    """

    def __init__(self, space: Space, seed: int, mode: str, drawn: int, concurrent: int) -> None:
        super().__init__(
            time_attr="rung",
            metric="value",
            mode=mode,
            perturbation_interval=1,
            custom_explore_fn=lambda config: config,
            log_config=False,
            # Generation by generation, whatever the order in which members find a place to run.
            synch=True,
        )
        self._space, self._seed, self._drawn = space, seed, drawn
        self._concurrent = concurrent

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], Any]:
        self._drawn += 1
        own, other = trial.config["trial"], trial_to_clone.config["trial"]
        point = self._space.perturb(other["point"], self._seed, self._drawn)
        return {"trial": {**own, "point": point}}, {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Let a member go on, or have it wait for the others; one that is over is let go."""
        if result.get("over"):
            return str(TrialScheduler.STOP)
        return str(super().on_trial_result(tune_controller, trial, result))

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The next member, also where all wait for one that has died for good."""
        running = [t for t in tune_controller.get_live_trials() if t.status == t.RUNNING]
        if len(running) >= self._concurrent:
            return None
        chosen = super().choose_trial_to_run(tune_controller)
        live = tune_controller.get_live_trials()
        if chosen is None and live and all(trial.status == trial.PAUSED for trial in live):
            self._next_perturbation_sync += self._perturbation_interval
            chosen = super().choose_trial_to_run(tune_controller)
        return chosen


def scheduler(settings: TuneSettings, space: Space, drawn: int, concurrent: int) -> TrialScheduler:
    """The one that a search asks for; its time is counted in rungs, and so in images seen.

    Args:
        drawn: see `Population`.
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
        return Population(space, settings.seed, mode, drawn, concurrent)
    if settings.scheduler == "median":
        return MedianStoppingRule(
            time_attr="rung", metric="value", mode=mode, grace_period=1, min_samples_required=_FEW
        )
    return FIFOScheduler()
