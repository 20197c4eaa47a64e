"""A search on Ray Tune, beside the main thread, which keeps signals and the display."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distgan.errors import UserError, printable
from distgan.launch.ray.messages import cluster_mailbox
from distgan.launch.signals import StopRequest
from distgan.storage.storage import join
from distgan.tune import record
from distgan.tune.disk import HANDED_ON
from distgan.tune.points import Listed, brief
from distgan.tune.record import Trial
from distgan.tune.trial import Job, run_trial
from distgan.tune.trial_resources import TrialResources

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


class _TuneCallback(tune.Callback):  # type: ignore[misc]
    """Hears of trials that begin and end, in Ray Tune's thread.

    Args:
        settle: takes what a trial was started with and why its process is over, empty for one
            that Ray Tune ended.
    """

    def __init__(self, settle: Callable[[dict[str, Any], str], None]) -> None:
        self._settle = settle
        self.running: set[int] = set()

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.add(_number(trial))

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.discard(_number(trial))
        self._settle(trial.config["trial"], "")

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
        self.running.discard(_number(trial))
        self._settle(trial.config["trial"], _reason(trial))


def _reason(trial: Any) -> str:
    """Why a trial's process is over, in a line."""
    # Ray Tune has the error here before it is where `Trial.get_pickled_error` looks.
    path, error = trial.pickled_error_file, None
    if path is not None:
        with contextlib.suppress(Exception):
            error = ray.cloudpickle.loads(Path(path).read_bytes())
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause if isinstance(error.cause, Exception) else error
        lines = str(cause).strip().splitlines() or [""]
        return printable(f"{type(cause).__name__}: {lines[-1]}")[:300]
    return "its process died, for which a lack of memory is a common cause"


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
        room: TrialResources,
        stop: StopRequest,
        scheduler: TrialScheduler | None,
        points: Listed | list[Trial],
        count: int,
        verbose: bool = False,
    ) -> None:
        self._job, self._room, self._stop = job, room, stop
        self._mailbox, self._storage = cluster_mailbox(job.mailbox), job.storage()
        self._ears, self._error = _TuneCallback(self._settle), ""
        self._verbose, self._told = verbose, False
        self._seen: dict[int, dict[str, Any]] = {}
        self._points = points
        self._stopped_at = 0.0
        self._scheduler = scheduler or FIFOScheduler()
        self._count = count

    def run(
        self, show: Show, over: Callable[[], bool], lost: Callable[[], bool] = lambda: False
    ) -> None:
        """Until all trials are over, or a stop has reached them.

        Args:
            over: whether the time allowed is over.
            lost: whether the cluster is gone, asked after a stop.

        Raises:
            UserError: when Ray Tune itself gave up.
        """
        thread = threading.Thread(target=self._fit, args=(self._tuner(),), daemon=True)
        thread.start()
        looking = threading.Thread()
        while thread.is_alive():
            thread.join(_SECONDS_BETWEEN_LOOKS)
            if over() and not self._stop.name:
                self._stop.name = "the time limit"
            if self._stop.name and not self._stopped_at:
                self._stopped_at = time.monotonic()
                if isinstance(self._points, Listed):
                    self._points.closed = True
            if self._stopped_at and lost():
                break
            if not looking.is_alive():
                # Beside this thread: what asks a head that was just ended waits for a minute.
                looking = threading.Thread(target=self._look, daemon=True)
                looking.start()
                looking.join(_SECONDS_BETWEEN_LOOKS)
            show(self._seen)
        else:
            with contextlib.suppress(Exception):
                self._mailbox.clear()
        self._clear()
        if self._error:
            raise UserError(f"the search ended early: {self._error}; --resume {self._job.out}")

    def _look(self) -> None:
        # The head of the cluster may be away for a moment: the next look tries again.
        with contextlib.suppress(Exception):
            self._tell_of_stop()
            self._seen = self._news()

    def _tell_of_stop(self) -> None:
        if self._stopped_at and not self._told:
            self._mailbox.put("stop", self._stop.name)
            self._told = True

    def _news(self) -> dict[int, dict[str, Any]]:
        running = sorted(self._ears.running)
        return {number: self._mailbox.get(f"{number:04d}") or {} for number in running}

    def _tuner(self) -> tune.Tuner:
        # What went wrong with a trial stands in its record, and is said once.
        level = logging.INFO if self._verbose else logging.CRITICAL
        for name in _LOUD:
            logging.getLogger(name).setLevel(level)
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
                verbose=int(self._verbose),
            ),
        )

    def _fit(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
        except Exception as error:
            lines = str(error).strip().splitlines()
            self._error = printable(lines[-1]) if lines else type(error).__name__

    def _all_have_stopped(self) -> bool:
        if not self._stopped_at:
            return False
        late = time.monotonic() - self._stopped_at > _SECONDS_TO_STOP
        return late or not self._ears.running

    def _settle(self, given: dict[str, Any], broken: str) -> None:
        """Write down what a process that is over could not."""
        with contextlib.suppress(OSError, UserError):
            trial = record.load(self._storage, given["number"]) or Trial(**given)
            if trial.over:
                return
            if broken:
                trial.state, trial.why = "failed", broken
            elif trial.state == "running" and not self._stopped_at:
                trial.state, trial.why = "ended early", "its measurements were among the worse"
            trial.save(self._storage)

    def _clear(self) -> None:
        with contextlib.suppress(OSError, UserError):
            self._storage.delete_folder(SCRATCH)
            if not self._stopped_at:
                self._storage.delete_folder(HANDED_ON)


_LOUD = ("ray.tune", "ray.train", "ray.air")
"""Loggers of Ray that tell of every trial what the table tells."""

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
