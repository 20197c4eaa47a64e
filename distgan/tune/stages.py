"""A search, then its confirmation, each a list of trials for Ray Tune."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from distgan.launch.signals import StopRequest
from distgan.tune import points, record, results
from distgan.tune.disk import Losers
from distgan.tune.given import given
from distgan.tune.on_ray import Search
from distgan.tune.record import Trial
from distgan.tune.schedulers import Asha, Median, scheduler
from distgan.tune.settings import MOST_SAMPLES
from distgan.tune.trial import Job

if TYPE_CHECKING:
    from distgan.tune.search import Board, Plan


class Stages:
    """Runs both on the cluster that this process is connected to.

    Args:
        plan: with the room that there is.
        start: when the search was started, of ``time.monotonic``.
        lost: whether the cluster is gone, asked after a stop.
    """

    def __init__(
        self,
        plan: Plan,
        board: Board,
        stop: StopRequest,
        start: float,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        assert plan.room is not None
        self._plan, self._board, self._stop, self._start = plan, board, stop, start
        self._lost = lost
        self._room = plan.room
        self._records = record.Records(plan.storage)
        self._losers = Losers(plan.storage, plan.settings)
        self._job = Job(
            out=plan.storage.anywhere(),
            owner=plan.storage.owner,
            settings=replace(plan.settings, workers_per_trial=plan.room.workers),
            space=plan.space,
            base=plan.base,
            mailbox=uuid.uuid4().hex,
            members=len(given(plan.space, plan.settings)) * (plan.settings.scheduler == "pbt"),
            threads=plan.room.threads,
            device="cpu" if plan.device == "cpu" else "auto",
        )

    def run(self) -> None:
        """Until all trials are over, or a stop has reached them."""
        self._search()
        if self._plan.settings.confirm and not self._stop.name:
            self._confirm()

    def _search(self) -> None:
        plan, settings = self._plan, self._plan.settings
        known = [t for t in record.load_all(plan.storage) if t.confirms is None]
        numbers, over = {t.number for t in known}, [t for t in known if t.settled]
        # Those that stand where they were stopped go first.
        left = [t for t in known if not t.settled]
        start = given(plan.space, settings)
        if settings.search == "random":
            self._note_a_small_space(len(start))
        left += [
            Trial(number=number, point=point, seed=plan.base.seed)
            for number, point in enumerate(start)
            if number not in numbers
        ]
        reached = {trial.number: trial.rung for trial in left}
        ours = scheduler(settings, reached, self._room.concurrent)
        rule = ours if isinstance(ours, (Asha, Median)) else None
        if rule is not None:
            for trial in over:
                rule.recall(f"before-{trial.number}", trial.told(settings.worst))
        source: points.Listed | list[Trial] = left
        further: list[int] = []
        if settings.search == "optuna":
            further = [n for n in range(1, settings.samples) if n not in numbers]
            seed = plan.base.seed
            source = points.Optuna(left, over, further, plan.space, settings, seed, rule)
        elif settings.scheduler != "pbt":
            source = points.Listed(left, rule)
        if left or further:
            self._fit(source, ours, len(left) + len(further))
        if settings.search == "optuna" and not self._stop.name:
            self._note_a_small_space(len(record.load_all(plan.storage)))

    def _note_a_small_space(self, count: int) -> None:
        if count < self._plan.settings.samples:
            self._board.note(
                f"the space holds no more than {count} different configurations, the recipe's "
                f"included: {count} trials instead of {self._plan.settings.samples}"
            )

    def _confirm(self) -> None:
        settings = self._plan.settings
        trials = record.load_all(self._plan.storage)
        top = results.ranked(trials, settings)[: settings.confirm_top]
        again = [t for t in top if t.number != 0]
        if not again:
            self._board.note("nothing to confirm: no trial is better than the recipe as it is")
            return
        left = [t for t in self._confirmations(trials, again) if not t.settled]
        if left:
            names = ", ".join(str(t.number) for t in again)
            self._board.note(
                f"confirming trial {names} and the recipe with {settings.confirm} seeds"
            )
            self._fit(points.Listed(left), None, len(left))

    def _confirmations(self, trials: list[Trial], again: list[Trial]) -> Iterator[Trial]:
        """The recipe and some trials, each with every fresh seed; begun ones as they stand."""
        seed, settings = self._plan.base.seed, self._plan.settings
        known = {(t.confirms, t.seed): t for t in trials if t.confirms is not None}
        numbers = itertools.count(max([MOST_SAMPLES, *(t.number + 1 for t in known.values())]))
        for turn, trial in itertools.product(range(settings.confirm), (None, *again)):
            number, point = (trial.number, trial.point) if trial else (0, {})
            yield known.get((number, seed + 1 + turn)) or Trial(
                number=next(numbers), point=point, seed=seed + 1 + turn, confirms=number
            )

    def _fit(self, source: Any, ours: Any, count: int) -> None:
        limit = self._plan.settings.time_limit * 60
        Search(self._job, self._room, self._stop, ours, source, count, self._plan.verbose).run(
            self._show,
            lambda: bool(limit) and time.monotonic() - self._start > limit,
            self._lost,
        )
        self._losers.clear(record.load_all(self._plan.storage))

    def _show(self, news: dict[int, dict[str, Any]]) -> None:
        trials = self._records.current(news)
        self._losers.clear(trials)
        self._board.show(trials, news)
