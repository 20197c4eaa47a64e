"""A search on Ray Tune, beside the main thread, which keeps signals and the display."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distgan.errors import UserError
from distgan.launch.mailbox import ClusterMailbox
from distgan.launch.signals import StopRequest
from distgan.storage import Storage, join
from distgan.tune import record
from distgan.tune.points import Listed, brief
from distgan.tune.record import Trial
from distgan.tune.room import Room
from distgan.tune.trial import HANDED_ON, Job, run_trial

_SECONDS_BETWEEN_LOOKS = 0.5
_SECONDS_TO_STOP = 120.0
"""For running trials to finish a step and write a checkpoint."""

QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # What Ray Tune keeps of a search is not what a resumed one goes by.
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    # A trial that ends writes its last checkpoint first.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # A trial that is stopped before its first rung has nothing to report.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""What makes Ray Tune do what a search needs and no more; set before a cluster starts."""

Show = Callable[[dict[int, dict[str, Any]]], None]
"""Takes what the running trials last told of themselves, by number."""


class _Ears(tune.Callback):  # type: ignore[misc]
    """Hears of trials that begin and end, in Ray Tune's thread."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self.ended: set[int] = set()
        self.broken: dict[int, str] = {}

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.add(_number(trial))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.discard(_number(trial))
        self.ended.add(_number(trial))

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.discard(_number(trial))
        reason = trial.get_error() if hasattr(trial, "get_error") else None
        lines = str(reason or "its process died").strip().splitlines()
        self.broken[_number(trial)] = lines[-1]


class _Stopped(tune.Stopper):  # type: ignore[misc]
    """Ends the whole search once all running trials have heard of the stop."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self._ready = ready

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._ready()


class Search:
    """Runs trials on the Ray cluster that this process is connected to.

    Args:
        points: of the trials, in their order; a population is a list from the start.
    """

    def __init__(
        self,
        job: Job,
        room: Room,
        stop: StopRequest,
        scheduler: TrialScheduler | None,
        points: Listed | list[Trial],
        count: int,
    ) -> None:
        self._job, self._room, self._stop = job, room, stop
        self._mailbox, self._storage = ClusterMailbox(job.mailbox), Storage(job.out)
        self._ears, self._error = _Ears(), ""
        self._points = points
        self._stopped_at = 0.0
        self._scheduler = scheduler or FIFOScheduler()
        self._count = count

    def run(self, show: Show, over: Callable[[], bool]) -> None:
        """Until all trials are over, or a stop has reached them.

        Args:
            over: whether the time allowed is over.

        Raises:
            UserError: when Ray Tune itself gave up.
        """
        thread = threading.Thread(target=self._fit, args=(self._tuner(),), daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_LOOKS)
            if over() and not self._stop.name:
                self._stop.name = "the time limit"
            if self._stop.name and not self._stopped_at:
                self._stopped_at = time.monotonic()
                self._mailbox.put("stop", self._stop.name)
                if isinstance(self._points, Listed):
                    self._points.closed = True
            show(self._news())
        self._mailbox.clear()
        self._settle()
        if self._error:
            raise UserError(f"the search ended early: {self._error}; --resume {self._job.out}")

    def _news(self) -> dict[int, dict[str, Any]]:
        running = sorted(self._ears.running)
        return {number: self._mailbox.get(f"{number:04d}") or {} for number in running}

    def _tuner(self) -> tune.Tuner:
        logging.getLogger("ray.tune").setLevel(logging.ERROR)
        searches = isinstance(self._points, Listed)
        space: dict[str, Any] = {}
        if not searches:
            space["trial"] = tune.grid_search([brief(trial) for trial in self._points])
        trainable = tune.with_resources(
            tune.with_parameters(run_trial, job=self._job),
            tune.PlacementGroupFactory([self._room.driver]),
        )
        return tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                search_alg=self._points if searches else None,
                scheduler=self._scheduler,
                num_samples=self._count if searches else 1,
                # Ray Tune would make no more members of a population than may run at a time.
                max_concurrent_trials=self._room.concurrent if searches else None,
                # A process is used again, but not one whose workers may be training still.
                reuse_actors=self._room.workers == 0,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=join(self._job.out, SCRATCH),
                failure_config=tune.FailureConfig(max_failures=self._job.settings.retries),
                callbacks=[self._ears],
                stop=_Stopped(self._all_have_stopped),
                verbose=0,
            ),
        )

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
        except Exception as error:
            self._error = str(error).strip().splitlines()[-1]

    def _all_have_stopped(self) -> bool:
        if not self._stopped_at:
            return False
        late = time.monotonic() - self._stopped_at > _SECONDS_TO_STOP
        return late or not self._ears.running

    def _settle(self) -> None:
        """Write down what processes that died could not."""
        for number in self._ears.ended | set(self._ears.broken):
            trial = record.load(self._storage, number)
            if trial is None or trial.over:
                continue
            if number in self._ears.broken:
                trial.state, trial.why = "failed", self._ears.broken[number]
            elif trial.state == "running" and not self._stopped_at:
                trial.state, trial.why = "ended early", "its measurements were among the worse"
            trial.save(self._storage)
        with contextlib.suppress(OSError, UserError):
            self._storage.delete_folder(SCRATCH)
            if not self._stopped_at:
                self._storage.delete_folder(HANDED_ON)


SCRATCH = ".tune"
"""In the folder of a search: what Ray Tune writes while it goes on."""


def _number(trial: Any) -> int:
    return int(trial.config["trial"]["number"])


def prepare() -> None:
    """Set what Ray Tune reads from the environment, where the user has not."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def resources() -> tuple[int, int]:
    """GPUs and CPUs of the cluster that this process is connected to."""
    found = ray.cluster_resources()
    return int(found.get("GPU", 0)), int(found.get("CPU", 0))
