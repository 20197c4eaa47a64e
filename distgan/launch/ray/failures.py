"""What Ray Train's controller does when workers fail: start them again, or end the run.

Ray counts all failures of a run. Here those count that follow one another without a new
checkpoint between: a run that goes forward is never given up, one that cannot soon is.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any

import torch.distributed as dist
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    PreemptingState,
    ReschedulingState,
    ResizingState,
    RestartingState,
    RunningState,
    SchedulingState,
)
from ray.train.v2.api.exceptions import PreemptionError

from distgan.errors import LostWorkersError, UserError
from distgan.launch.ray.messages import Channel
from distgan.runs import checkpoint
from distgan.storage.storage import Storage
from distgan.training.control import RESIZE

SECONDS_WITHOUT_AN_ANSWER = 60
"""After which a worker whose process does not answer the controller is taken for dead."""
SECONDS_OF_A_COLLECTIVE = 300
"""After which workers that wait for one another fail; longer than storage may fail."""
_SECONDS_BEFORE_WAITING_IS_TOLD = 10
_SECONDS_FOR_A_CHECKPOINT = 150
"""How long the controller waits for one before it changes the number of workers."""
_WITHOUT_WORKERS = (InitializingState, SchedulingState, ReschedulingState, RestartingState)
"""States of the controller in which nobody is there who could hear that the run is to stop."""
_CONTROLLER = {
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": str(SECONDS_WITHOUT_AN_ANSWER),
    # For its first moments Ray may count on a node that is gone.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    # A group with a dead member cannot part in order; there is no use in waiting for it.
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "3",
}


class Preempted(Exception):  # noqa: N818 - it is no error, but the way out of the workers
    """Raised by all workers after the checkpoint that a preemption or a resize asked for."""


class Left(Exception):  # noqa: N818 - nothing went wrong
    """Raised in the controller when the driver does not want to wait for it."""


def preempted() -> bool:
    """Whether notice was given that a node of this worker's group will be taken away."""
    # ray.train.get_preemption_info makes all workers wait for one another; this is what it
    # reads on each of them.
    return get_train_context().preemption_context.preemption_info is not None


class FailurePolicy(ControllerCallback, WorkerGroupCallback):  # type: ignore[misc]
    """Hears of failures in the controller, tells the driver, and ends what is hopeless.

    An exception that leaves it ends the run as a `ray.train.ControllerError` that holds it.

    Args:
        out: the run's folder.
        channel: its messages.
        max_failures: failures in a row after which the workers are started once more.
    """

    def __init__(self, out: str, channel: Channel, max_failures: int) -> None:
        self._out, self._mailbox, self._max_failures = out, channel, max_failures
        self._failures, self._newest, self._cause = 0, -1, ""
        self._waiting_since = 0.0
        self._told: list[tuple[str, str]] = []
        self._to_remove: set[str] = set()

    def after_controller_start(self, train_run_context: Any) -> None:
        """Set what the controller reads from its environment."""
        for name, value in _CONTROLLER.items():
            os.environ.setdefault(name, value)

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """See what has become of the workers; called at every turn of the controller.

        Raises:
            Left: when the run is to stop and no workers are there to hear it.
        """
        self._remove_messages()
        if current_state is previous_state:
            self._waits("not as many as the fewest that will do")
        elif isinstance(current_state, RestartingState):
            self._failed(current_state.training_failed_error)
        elif isinstance(current_state, ReschedulingState):
            self._did_not_start(current_state.training_failed_error)
        elif isinstance(current_state, ResizingState):
            self._save_before_resizing(current_state.scaling_decision.num_workers)
        elif isinstance(current_state, RunningState):
            self._waiting_since = 0.0
        elif isinstance(current_state, PreemptingState) and isinstance(
            previous_state, RunningState
        ):
            nodes = len(current_state.preemption_info.preempted_node_to_ranks)
            what = "a node" if nodes == 1 else f"{nodes} nodes"
            self._tell(f"notice that {what} will be taken away", "preemption notice")
        if isinstance(current_state, _WITHOUT_WORKERS):
            self._leave_if_asked()

    def before_init_train_context(self, workers: Any) -> dict[str, Any]:
        """Called between the start of the workers' processes and that of the training.

        Raises:
            Left: when the run is to stop.
        """
        self._leave_if_asked()
        return {}

    def _leave_if_asked(self) -> None:
        stop = None
        with contextlib.suppress(Exception):
            stop = self._mailbox.get("stop")
        if stop:
            raise Left

    def _waits(self, why: str, seconds: float = _SECONDS_BEFORE_WAITING_IS_TOLD) -> None:
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        if now - self._waiting_since >= seconds:
            self._waiting_since = float("inf")
            self._tell(f"no room for the workers ({why}); waiting for nodes", "waiting")

    def _did_not_start(self, error: Exception) -> None:
        cause = getattr(error, "controller_failure", error)
        if isinstance(cause, WorkerGroupStartupTimeoutError):
            self._waits("too few CPUs or GPUs are free", 0)
            return
        self._count(error, True, "the workers died while they started")
        self._tell(f"the workers died while they started; {self._again()}", "worker lost")

    def _again(self) -> str:
        return f"starting again ({self._failures} of {self._max_failures} without a checkpoint)"

    def _failed(self, error: Exception) -> None:
        failures = error.worker_failures if isinstance(error, WorkerGroupError) else {}
        if isinstance(error, PreemptionError) or any(
            isinstance(failure, Preempted) for failure in failures.values()
        ):
            return
        for failure in failures.values():
            # One rank's mistake makes the others fail too; only the mistake matters.
            mistake = mistake_in(failure)
            if mistake is not None:
                raise mistake
        loss, text = describe(failures)
        self._count(error, loss, text)
        self._tell(f"{text}; {self._again()}", "worker lost" if loss else "worker failed")

    def _count(self, error: Exception, loss: bool, text: str) -> None:
        newest = self._newest_checkpoint()
        # After a rollback for the run's health the newest is an older one.
        if newest != self._newest:
            self._failures, self._newest, self._cause = 0, newest, ""
        # An exception of the program at the same place twice is no accident.
        hopeless = not loss and text == self._cause
        self._failures, self._cause = self._failures + 1, text
        if self._failures <= self._max_failures and not hopeless:
            return
        if not loss:
            raise error
        tries = "" if self._failures == 1 else f", {self._failures} times without a new checkpoint"
        raise LostWorkersError(
            f"{text}{tries}; see what befell it (memory is a common cause), then go on with "
            f"--resume {self._out}, or allow more by --max-failures"
        )

    def _newest_checkpoint(self) -> int:
        try:
            found = checkpoint.index(Storage(self._out))
        except (OSError, UserError):
            return self._newest
        return int(found[-1]["images_seen"]) if found else 0

    def _save_before_resizing(self, workers: int) -> None:
        # The controller does nothing else meanwhile, so workers that end are not missed.
        self._tell(f"room for {workers} workers; changing over", "resizing")
        deadline, asked = time.monotonic() + _SECONDS_FOR_A_CHECKPOINT, False
        while time.monotonic() < deadline:
            # The head of the cluster may be away for a moment.
            with contextlib.suppress(Exception):
                if not asked:
                    self._mailbox.put("resize", RESIZE)
                    asked = True
                if self._mailbox.get("saved") is not None:
                    break
            time.sleep(0.1)
        # The workers to come would take it for theirs. What cannot be removed now is removed
        # at a later turn, and those who have heard it meanwhile start once more.
        self._to_remove = {"saved", "resize"}
        self._remove_messages()

    def _remove_messages(self) -> None:
        for topic in tuple(self._to_remove):
            with contextlib.suppress(Exception):
                self._mailbox.remove(topic)
                self._to_remove.discard(topic)

    def _tell(self, text: str, kind: str) -> None:
        self._told.append((text, kind))
        with contextlib.suppress(Exception):
            self._mailbox.put("told", self._told)


def mistake_in(failure: BaseException) -> UserError | None:
    """The user's mistake that a worker raised, itself or as a cause."""
    for error in (failure, failure.__cause__):
        if isinstance(error, UserError):
            return error
    return None


def describe(failures: dict[int, Exception]) -> tuple[bool, str]:
    """Whether workers were lost rather than raised something, and one line for the user.

    Args:
        failures: by rank.
    """
    deaths = {rank: death for rank, error in failures.items() if (death := _death(error))}
    if deaths:
        causes = dict.fromkeys(deaths.values())
        ranks = ", ".join(map(str, deaths))
        who = f"worker {ranks}" if len(deaths) == 1 else f"workers {ranks}"
        return True, f"{who} lost ({'; '.join(causes)})"
    for rank, error in failures.items():
        if not _lost_touch(error):
            line = " ".join(str(error).split())
            return False, f"worker {rank} failed ({type(error).__name__}: {line[:200]})"
    ranks = ", ".join(map(str, failures))
    return True, f"worker {ranks} lost touch with the others" if failures else "the workers failed"


def _death(error: Exception) -> str:
    if type(error).__name__ == "WorkerHealthCheckTimeoutError":
        return f"no answer for {SECONDS_WITHOUT_AN_ANSWER} s"
    cause = getattr(error, "health_check_failure", error)
    if isinstance(cause, OutOfMemoryError):
        return "out of memory"
    if not isinstance(cause, RayActorError):
        return ""
    text = str(cause)
    if getattr(cause, "preempted", False):
        return "its node was taken away"
    if re.search(r"node (has died|was terminated|died)|NODE_DIED", text):
        return "its node is gone"
    return "its process was killed"


def _lost_touch(error: Exception) -> bool:
    # By NCCL and torch's store it is told by exceptions of their own, by gloo by nothing but
    # a RuntimeError whose text begins with a place in gloo's code.
    if isinstance(error, dist.DistError):
        return True
    return type(error) is RuntimeError and bool(_FROM_GLOO.match(str(error)))


_FROM_GLOO = re.compile(r"\[[^]\s]*\bgloo/[^]\s]+:\d+\] ")
