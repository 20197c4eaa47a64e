"""What Ray Train's controller tells its callbacks, of 2.60: failures, resizing, preemption."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

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

from distgan.launch.ray.failures import CONTROLLER, FailureCount, Left, Told
from distgan.launch.ray.messages import Channel
from distgan.training.control import RESIZE

_SECONDS_BEFORE_WAITING_IS_TOLD = 10
_SECONDS_FOR_A_CHECKPOINT = 150
"""How long the controller waits for one before it changes the number of workers."""
_WITHOUT_WORKERS = (InitializingState, SchedulingState, ReschedulingState, RestartingState)
"""States of the controller in which nobody is there who could hear that the run is to stop."""


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
        self._mailbox, self._failures = channel, FailureCount(out, max_failures)
        self._waiting_since = 0.0
        self._told: list[Told] = []
        self._to_remove: set[str] = set()

    def after_controller_start(self, train_run_context: Any) -> None:
        """Set what the controller reads from its environment."""
        for name, value in CONTROLLER.items():
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
        self._tell(*self._failures.died_at_start(error))

    def _failed(self, error: Exception) -> None:
        told = self._failures.failed(error)
        if told is not None:
            self._tell(*told)

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
        self._told.append(Told(text, kind))
        with contextlib.suppress(Exception):
            self._mailbox.put("told", self._told)
