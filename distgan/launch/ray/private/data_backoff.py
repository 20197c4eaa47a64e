"""Keeps Ray Data's executor, of 2.60, from turning in circles while its output is not taken."""

from __future__ import annotations

import time
from typing import Any

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

_SHORTEST, _LONGEST = 0.001, 0.05
"""Seconds of a pause: doubled from one to the other while nothing happens."""


class Unhurried(ExecutionCallback):  # type: ignore[misc]
    """Pauses the executor's loop, longer each time, while no task begins or ends.

    A training step is slower than reading, so that most of the time the executor waits for its
    output to be taken. It has nothing to wait on then (Ray 2.60), and its thread, in the
    worker's own process, would take a core and Python's lock from training.
    """

    def __init__(self) -> None:
        self._tasks, self._pause = -1, _SHORTEST

    def on_execution_step(self, executor: Any) -> None:
        """Called by Ray Data after each turn of the loop."""
        # Ray Data's own, as the callback is: without it training is slower, and no worse.
        operators = getattr(executor, "_topology", None)
        if operators is None:
            return
        tasks = sum(o.metrics.num_tasks_submitted + o.metrics.num_tasks_finished for o in operators)
        if tasks != self._tasks:
            self._tasks, self._pause = tasks, _SHORTEST
            return
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST)


def be_unhurried(context: DataContext) -> None:
    """Let executions of this context pause while nothing happens."""
    classes = context.custom_execution_callback_classes
    if Unhurried not in classes:
        classes.append(Unhurried)
