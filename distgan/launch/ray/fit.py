"""Ray Train's `TorchTrainer` for a run, beside the main thread that keeps signals and display."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Protocol

from ray.train import (
    ControllerError,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)
from ray.train.torch import TorchTrainer

from distgan.launch.ray import private
from distgan.launch.ray.cluster import Cluster
from distgan.launch.ray.connection import variables
from distgan.launch.ray.failures import FailureCount, Told, mistake_in
from distgan.launch.ray.messages import Channel
from distgan.launch.ray.processes import end, workers_of_raylets
from distgan.launch.ray.rendezvous import Rendezvous, backend
from distgan.launch.ray.workers import Workers
from distgan.parallel.groups import SECONDS_OF_A_WAIT
from distgan.training.control import Outcome

_SECONDS_BETWEEN_RESIZES = 15.0
"""How often a run that may grow looks whether it can."""
_SECONDS_TO_LEAVE = 3.0
"""How long a driver that stops while workers start waits for Ray Train."""


class Job(Protocol):
    """What workers are handed; see `distgan.launch.ray.run`."""

    @property
    def out(self) -> str:
        """The run's folder."""

    @property
    def channel(self) -> Channel:
        """Its messages."""

    @property
    def verbose(self) -> bool:
        """Whether Ray may log."""


def choose() -> type[Fit]:
    """The kind of `Fit` for the Ray that is installed."""
    if private.usable():
        from distgan.launch.ray.private.fit import PrivateFit

        return PrivateFit
    return Fit


class Fit(threading.Thread):
    """Trains by Ray's documented interface; the driver counts failures and starts again.

    Args:
        work: runs on every worker; takes ``{"job": job}`` and returns an `Outcome`'s fields.
        max_failures: in a row; see `FailureCount`.
    """

    def __init__(
        self,
        work: Callable[[dict[str, Any]], dict[str, Any]],
        job: Job,
        workers: Workers,
        cluster: Cluster,
        max_failures: int,
    ) -> None:
        super().__init__(daemon=True)
        self._work, self._job, self._workers, self._cluster = work, job, workers, cluster
        self._max_failures = max_failures
        self._channel: Channel = job.channel
        self._left = False
        self._told: list[Told] = []
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Until the run is over, or its workers have failed too often."""
        try:
            self._result = self._fit()
        except BaseException as error:
            self._error = error

    def _fit(self) -> Any:
        failures = FailureCount(self._job.out, self._max_failures)
        while True:
            try:
                return TorchTrainer(self._work, **self._parts(0, [])).fit()
            except Exception as error:
                if self._left:
                    raise
                cause = error
                if isinstance(error, ControllerError):
                    cause = error.controller_failure
                told = failures.failed(cause)
                if told is not None:
                    self._tell(told)

    def _tell(self, told: Told) -> None:
        self._told.append(told)
        with contextlib.suppress(Exception):
            self._channel.put("told", self._told)

    def _parts(self, max_failures: int, callbacks: list[Any]) -> dict[str, Any]:
        """Arguments of a trainer, for one start of it."""
        workers, folder = self._workers, self._cluster.shared
        return {
            "train_loop_config": {"job": self._job},
            "torch_config": Rendezvous(
                backend=backend(workers.gpu),
                timeout_s=SECONDS_OF_A_WAIT,
                folder=folder,
                variables={} if self._cluster.own else variables(),
            ),
            "scaling_config": ScalingConfig(
                num_workers=workers.between or workers.count,
                use_gpu=workers.gpu,
                resources_per_worker=workers.resources,
                elastic_resize_monitor_interval_s=_SECONDS_BETWEEN_RESIZES,
            ),
            "run_config": RunConfig(
                name=uuid.uuid4().hex,
                storage_path=self._cluster.scratch,
                failure_config=FailureConfig(max_failures=max_failures),
                callbacks=callbacks,
            ),
        }

    def leave(self, stop: str) -> None:
        """See that controller and workers end, also those that have yet to start.

        Args:
            stop: the signal that they are to stop for; empty where the driver ends by an error.
        """
        self._left = True
        # On a cluster that stays they would train on, into a folder that was left to others.
        with contextlib.suppress(Exception):
            self._channel.put("stop", stop or "SIGTERM")
        if not self._cluster.own:
            self.join(_SECONDS_TO_LEAVE)
            return
        self._leave_own()
        deadline = time.monotonic() + _SECONDS_TO_LEAVE
        while self.is_alive() and time.monotonic() < deadline:
            # It waits for workers until they have started, or are gone.
            end(workers_of_raylets())
            self.join(0.2)

    def _leave_own(self) -> None:
        """What a controller on a cluster of our own hears before its workers are ended."""

    def then(self, action: Callable[[], object]) -> None:
        """Do something once it has ended, without waiting for it here where it has not."""

        def wait() -> None:
            self.join()
            with contextlib.suppress(Exception):
                action()

        if self.is_alive():
            threading.Thread(target=wait, daemon=True).start()
        else:
            wait()

    def outcome(self) -> Outcome | None:
        """How the run ended, or None when it was left before its first step.

        Raises:
            UserError: what a worker raised as such.
        """
        error = self._error
        if isinstance(error, ControllerError):
            # What the callback let go through.
            error = error.controller_failure
        if self._left and self._result is None:
            return None
        if isinstance(error, WorkerGroupError):
            for failure in error.worker_failures.values():
                error = mistake_in(failure) or error
        if error is not None:
            raise error from None
        return None if self._result is None else Outcome(**self._result.return_value)
