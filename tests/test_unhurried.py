"""Ray Data's executor, kept from turning in circles: does it rest, and only when it may?"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import ray.data
from ray.data._internal.execution.execution_callback import ExecutionCallback

from distgan.launch.ray.private.data_backoff import Unhurried, be_unhurried


def test_pauses_grow_while_no_task_begins_or_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = SimpleNamespace(num_tasks_submitted=3, num_tasks_finished=1)
    executor: Any = SimpleNamespace(_topology=[SimpleNamespace(metrics=metrics)])
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    rest = Unhurried()
    for _ in range(9):
        rest.on_execution_step(executor)
    assert pauses == pytest.approx([0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.05, 0.05])
    for name in ("num_tasks_submitted", "num_tasks_finished"):
        setattr(metrics, name, getattr(metrics, name) + 1)
        pauses.clear()
        rest.on_execution_step(executor)
        assert not pauses
        rest.on_execution_step(executor)
        assert pauses == [0.001]


class _Counted(ExecutionCallback):  # type: ignore[misc]
    turns = 0

    def on_execution_step(self, executor: Any) -> None:
        type(self).turns += 1


def _turns(rests: bool) -> float:
    """Turns a second of an executor that has nothing to do, and nobody takes what it has read."""
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=8e6
    )
    context.custom_execution_callback_classes = [_Counted]
    if rests:
        be_unhurried(context)
        be_unhurried(context)
    assert context.custom_execution_callback_classes.count(Unhurried) == rests
    with ray.data.DataContext.current(context):
        # Far more than its output may hold, which nobody takes after the first.
        data = ray.data.range_tensor(64, shape=(1_000_000,), override_num_blocks=64)
        batches = iter(data.iter_batches(batch_size=1))
        next(batches)
        time.sleep(2.0)
        before, start = _Counted.turns, time.monotonic()
        time.sleep(2.0)
        found = (_Counted.turns - before) / (time.monotonic() - start)
        del batches
    return found


@pytest.mark.ray
@pytest.mark.drill
def test_a_real_executor_turns_in_circles_unless_told(cluster: str) -> None:
    assert _turns(rests=False) > 5 * _turns(rests=True)
