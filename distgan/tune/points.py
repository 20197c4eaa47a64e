"""Where the points of a search come from, as Ray Tune asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from distgan.errors import UserError
from distgan.tune.dimensions import Choice
from distgan.tune.record import Trial
from distgan.tune.schedulers import Asha
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Point, Space


def given(space: Space, settings: TuneSettings) -> list[Point]:
    """The points that are known before a search begins; the first is the recipe as it is.

    Raises:
        UserError: for a grid that nobody means.
    """
    if settings.scheduler == "pbt":
        # Every member needs a value for what will be perturbed.
        return [space.home(), *_drawn(space, settings)]
    if settings.search == "random":
        return [{}, *_drawn(space, settings)]
    if settings.search == "grid":
        points = list(space.grid())
        if len(points) > MOST_OF_A_GRID:
            raise UserError(
                f"--search grid: has {len(points):,} points in {len(space.free)} settings; name "
                "fewer by --space, or use --search random"
            )
        return [{}, *points]
    return [{}]


MOST_OF_A_GRID = 1_000
"""Points, beyond which it is a mistake."""


def _drawn(space: Space, settings: TuneSettings) -> list[Point]:
    return [space.draw(settings.seed, number) for number in range(1, settings.samples)]


class Listed(Searcher):  # type: ignore[misc]
    """Hands out trials of a list.

    Args:
        trials: those that stand where they were stopped first.
        asha: is told what is known of a trial that goes on.
    """

    def __init__(self, trials: Iterable[Trial], asha: Asha | None = None) -> None:
        super().__init__()
        self._left = deque(trials)
        self._asha = asha
        self.closed = False
        """Whether no more trials are to begin."""

    def set_search_properties(self, *_: Any, **__: Any) -> bool:
        """The points are ours, whatever the metric."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The configuration that Ray Tune starts a trial with."""
        trial = None if self.closed else self._next(trial_id)
        if trial is None:
            return Searcher.FINISHED
        if self._asha is not None:
            self._asha.recall(trial_id, trial.history)
        return {"trial": brief(trial)}

    def _next(self, trial_id: str) -> Trial | None:
        return self._left.popleft() if self._left else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing to learn from it."""

    def save(self, checkpoint_path: str) -> None:
        """What is needed to go on is in the folder of the search."""

    def restore(self, checkpoint_path: str) -> None:
        """See `save`."""


class Optuna(Listed):
    """Optuna's tree-structured Parzen estimator (Bergstra et al. 2011), asked point by point.

    Args:
        trials: those to begin with.
        known: trials that are over, to learn from.
        numbers: of the trials that it may add.
    """

    def __init__(
        self,
        trials: Iterable[Trial],
        known: Iterable[Trial],
        numbers: Iterable[int],
        space: Space,
        settings: TuneSettings,
        seed: int,
        asha: Asha | None,
    ) -> None:
        super().__init__(trials, asha)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.TPESampler(
            seed=settings.seed,
            multivariate=True,
            constant_liar=True,
            n_startup_trials=max(4, settings.samples // 4),
        )
        self._study = optuna.create_study(
            direction="minimize" if settings.lower_is_better else "maximize", sampler=sampler
        )
        self._space, self._seed, self._numbers = space, seed, deque(numbers)
        self._optuna = optuna
        self._distributions = {name: self._distribution(name) for name in space.free}
        self._asked: dict[str, Any] = {}
        self._heard: dict[str, list[tuple[int, float]]] = {}
        self._full = settings.max_images // settings.rung
        for trial in known:
            self._learn(trial)

    def _distribution(self, name: str) -> Any:
        dimension = self._space.dimension(name)
        if isinstance(dimension, Choice):
            return self._optuna.distributions.CategoricalDistribution(list(dimension.values))
        low, high = (float(end) for end in dimension.ends())
        kinds = self._optuna.distributions
        if getattr(dimension, "whole", False):
            return kinds.IntDistribution(int(low), int(high))
        return kinds.FloatDistribution(low, high, log=getattr(dimension, "log", False))

    def _learn(self, trial: Trial) -> None:
        point = trial.point or self._space.home()
        values = [m.value for m in trial.history]
        if trial.final is not None:
            values.append(trial.final.value)
        if not values:
            return
        state = self._optuna.trial.TrialState
        made = self._optuna.trial.create_trial(
            params=point,
            distributions=self._distributions,
            intermediate_values={m.rung: m.value for m in trial.history},
            state=state.COMPLETE if trial.final is not None else state.PRUNED,
            value=values[-1],
        )
        self._study.add_trial(made)

    def _next(self, trial_id: str) -> Trial | None:
        trial = super()._next(trial_id)
        if trial is not None and trial.point:
            self._asked[trial_id] = self._enqueue(trial.point)
            return trial
        if trial is not None:
            self._asked[trial_id] = self._enqueue(self._space.home())
            return trial
        if not self._numbers:
            return None
        asked = self._study.ask(self._distributions)
        self._asked[trial_id] = asked
        return Trial(number=self._numbers.popleft(), point=dict(asked.params), seed=self._seed)

    def _enqueue(self, point: Point) -> Any:
        self._study.enqueue_trial(point)
        return self._study.ask(self._distributions)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Remember a measurement, by which an ended trial is judged."""
        self._heard.setdefault(trial_id, []).append((result["rung"], result["value"]))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Learn from a trial."""
        asked, heard = self._asked.pop(trial_id, None), dict(self._heard.pop(trial_id, []))
        if result is not None and "value" in result:
            heard[result["rung"]] = result["value"]
        state = self._optuna.trial.TrialState
        if asked is None:
            return
        if not heard:
            self._study.tell(asked, state=state.FAIL)
            return
        for rung, value in heard.items():
            asked.report(value, rung)
        last = max(heard)
        if last >= self._full:
            self._study.tell(asked, heard[last])
        else:
            self._study.tell(asked, state=state.PRUNED)


def brief(trial: Trial) -> dict[str, Any]:
    """What a process needs to know of a trial to begin it; JSON's kinds of values only."""
    wanted = ("number", "point", "seed", "confirms")
    return {name: value for name, value in asdict(trial).items() if name in wanted}
