"""What the controller does when workers fail, change in number, or are to stop, without Ray."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from ray.exceptions import RayActorError
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ResizingState,
    RestartingState,
    RunningState,
)
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision

from distgan.errors import UserError
from distgan.launch.ray.failures import Left, describe
from distgan.launch.ray.messages import FolderMailbox
from distgan.launch.ray.private.controller import FailurePolicy
from distgan.runs import checkpoint
from distgan.storage.storage import Storage

DIED = WorkerHealthCheckFailedError("", RayActorError(None, "its process has died"))


class HeadAway(FolderMailbox):
    """Fails at calls of some numbers, as the store of a cluster whose head is away does."""

    def __init__(self, folder: str, failing: dict[str, set[int]]) -> None:
        super().__init__(folder)
        self._failing = failing
        self._calls = {name: itertools.count() for name in failing}

    def _maybe_fail(self, name: str) -> None:
        if name in self._calls and next(self._calls[name]) in self._failing[name]:
            raise RuntimeError("the head is away")

    def put(self, topic: str, message: Any) -> None:
        self._maybe_fail(f"put {topic}")
        super().put(topic, message)

    def get(self, topic: str) -> Any:
        self._maybe_fail(f"get {topic}")
        if topic == "saved" and super().get("resize"):
            # The workers answer at once.
            return 100
        return super().get(topic)

    def remove(self, topic: str) -> None:
        self._maybe_fail(f"remove {topic}")
        super().remove(topic)


def resize(watch: FailurePolicy) -> None:
    watch.after_controller_state_update(
        RunningState(), ResizingState(scaling_decision=ResizeDecision(3, {"CPU": 1}))
    )


@pytest.mark.parametrize("call", ["put resize", "get saved", "remove resize", "remove saved"])
def test_new_workers_find_no_word_that_was_meant_for_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr("distgan.launch.ray.private.controller.time.sleep", lambda seconds: None)
    mailbox = HeadAway(str(tmp_path / "m"), {call: {0}})
    watch = FailurePolicy(str(tmp_path), mailbox, 2)
    resize(watch)
    watch.after_controller_state_update(RunningState(), RunningState())
    assert (mailbox.get("resize"), mailbox.get("saved")) == (None, None)


def test_workers_that_save_nothing_are_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = itertools.count(0.0, 10.0)
    monkeypatch.setattr("distgan.launch.ray.private.controller.time.sleep", lambda seconds: None)
    monkeypatch.setattr("distgan.launch.ray.private.controller.time.monotonic", lambda: next(now))
    mailbox = FolderMailbox(str(tmp_path / "m"))
    resize(FailurePolicy(str(tmp_path), mailbox, 2))
    assert mailbox.get("resize") is None


def test_a_stop_ends_a_run_that_has_no_workers(tmp_path: Path) -> None:
    mailbox = FolderMailbox(str(tmp_path / "m"))
    watch = FailurePolicy(str(tmp_path), mailbox, 2)
    watch.after_controller_state_update(InitializingState(), InitializingState())
    assert watch.before_init_train_context([]) == {}
    mailbox.put("stop", "SIGINT")
    # Workers that train hear it themselves, and save.
    watch.after_controller_state_update(RunningState(), RunningState())
    with pytest.raises(Left):
        watch.before_init_train_context([])
    for state in (InitializingState(), RestartingState(WorkerGroupError("", {0: DIED}))):
        with pytest.raises(Left):
            watch.after_controller_state_update(RunningState(), state)


def test_progress_after_a_rollback_is_progress(tmp_path: Path) -> None:
    """A rollback for the run's health leaves fewer images than were seen before."""
    watch, storage = (
        FailurePolicy(str(tmp_path), FolderMailbox(str(tmp_path / "m")), 1),
        Storage(tmp_path),
    )
    for images in (100, 40, 60, 80):
        if images == 40:
            checkpoint.forget_after(storage, -1)
        checkpoint.save(storage, {"images_seen": images}, keep=2)
        watch._failed(WorkerGroupError("", {0: DIED}))
    with pytest.raises(UserError, match="2 times without a new checkpoint"):
        watch._failed(WorkerGroupError("", {0: DIED}))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("the socket of the pump timed out"),
        RuntimeError("nccl: no such rule"),
        ConnectionResetError("connection reset by peer"),
        ValueError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"),
        KeyError("gloo"),
        RuntimeError("see [gloo/transport/tcp/pair.cc:547] for more"),
    ],
)
def test_a_programs_own_error_is_told_as_its_own(tmp_path: Path, error: Exception) -> None:
    loss, text = describe({0: error})
    assert not loss
    assert text.startswith(f"worker 0 failed ({type(error).__name__}: ")
    watch = FailurePolicy(str(tmp_path), FolderMailbox(str(tmp_path / "m")), 5)
    watch._failed(WorkerGroupError("the trace", {0: error}))
    with pytest.raises(WorkerGroupError, match="the trace"):
        watch._failed(WorkerGroupError("the trace", {0: error}))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:1"),
        RuntimeError(
            "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting"
        ),
        dist.DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1"),
        dist.DistNetworkError("the client socket has timed out"),
    ],
)
def test_whose_peers_are_gone_has_lost_touch(error: Exception) -> None:
    assert describe({0: error}) == (True, "worker 0 lost touch with the others")
