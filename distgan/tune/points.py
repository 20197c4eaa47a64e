"""Hands the trials of a search to Ray Tune as it asks for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np
from ray.tune.search import Searcher

from distgan.tune.dimensions import Choice
from distgan.tune.record import Trial
from distgan.tune.schedulers import Asha, Median
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

_TURNS = 100
"""For Optuna to give a point that is new; from the half on, any is."""


class Listed(Searcher):  # type: ignore[misc]
    """Hands out trials of a list.

    Args:
        trials: those that stand where they were stopped first.
        rule: what ends trials early; is told what is known of a trial that goes on.
    """

    def __init__(self, trials: Iterable[Trial], rule: Asha | Median | None = None) -> None:
        super().__init__()
        self._left = deque(trials)
        self._rule = rule
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
        if self._rule is not None:
            # Of the last measurement it is told again, and decides, as it would have.
            self._rule.recall(trial_id, trial.history[:-1])
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
        rule: Asha | Median | None,
    ) -> None:
        super().__init__(trials, rule)
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._settings = settings
        self._study = optuna.create_study(
            direction="minimize" if settings.lower_is_better else "maximize"
        )
        self._space, self._seed, self._numbers = space, seed, deque(numbers)
        self._optuna = optuna
        self._distributions = {name: self._distribution(name) for name in space.free}
        self._asked: dict[str, Any] = {}
        self._keys = {space.key({})}
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

    def _sampler(self, number: int, turn: int = 0) -> Any:
        """Of one trial: what it draws depends on what is known then, and on no draw before.

        It draws at random at first, and where it goes on giving points that are known.
        """
        if turn >= _TURNS // 2:
            return self._optuna.samplers.RandomSampler(seed=self._seed_of(number, turn))
        return self._optuna.samplers.TPESampler(
            seed=self._seed_of(number, turn),
            multivariate=True,
            constant_liar=True,
            n_startup_trials=max(4, self._settings.samples // 4),
        )

    def _seed_of(self, number: int, turn: int) -> int:
        numbers = np.random.default_rng([self._settings.seed, number, turn])
        return int(numbers.integers(2**32))

    def _learn(self, trial: Trial) -> None:
        heard = {m.rung: m.value for m in trial.history}
        if trial.final is not None:
            heard[max(trial.final.rung, trial.rung + 1)] = trial.final.value
        elif trial.state == "ill":
            heard[trial.rung + 1] = self._settings.worst
        if heard:
            self._tell(self._enqueue(trial), heard)

    def _next(self, trial_id: str) -> Trial | None:
        trial = super()._next(trial_id)
        if trial is not None:
            self._asked[trial_id] = self._enqueue(trial)
            return trial
        if not self._numbers:
            return None
        asked = self._ask(self._numbers[0])
        if asked is None:
            return None
        self._asked[trial_id] = asked
        return Trial(number=self._numbers.popleft(), point=dict(asked.params), seed=self._seed)

    def _ask(self, number: int) -> Any:
        """A point that is no configuration yet, or None where it seems that there is none."""
        for turn in range(_TURNS):
            self._study.sampler = self._sampler(number, turn)
            asked = self._study.ask(self._distributions)
            key = self._space.key(asked.params)
            if key not in self._keys:
                self._keys.add(key)
                return asked
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
        return None

    def _enqueue(self, trial: Trial) -> Any:
        self._keys.add(self._space.key(trial.point))
        self._study.sampler = self._sampler(trial.number)
        self._study.enqueue_trial(trial.point or self._space.home())
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
        if asked is None:
            return
        if heard:
            self._tell(asked, heard)
        else:
            self._study.tell(asked, state=self._optuna.trial.TrialState.FAIL)

    def _tell(self, asked: Any, heard: dict[int, float]) -> None:
        for rung, value in heard.items():
            asked.report(value, rung)
        last = max(heard)
        if last >= self._full:
            self._study.tell(asked, heard[last])
        else:
            self._study.tell(asked, state=self._optuna.trial.TrialState.PRUNED)


def brief(trial: Trial) -> dict[str, Any]:
    """What a process needs to know of a trial to begin it; JSON's kinds of values only."""
    wanted = ("number", "point", "seed", "confirms")
    return {name: value for name, value in asdict(trial).items() if name in wanted}
