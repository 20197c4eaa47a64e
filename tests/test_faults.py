"""What is tried again, what is told of it, and what is not worth another try."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
    WorkerHealthCheckFailedError,
    WorkerHealthCheckTimeoutError,
)
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ReschedulingState,
    RunningState,
)

import distgan
from distgan.errors import UserError
from distgan.launch.ray.driver import Follower
from distgan.launch.ray.failures import Preempted, describe
from distgan.launch.ray.private.controller import FailurePolicy
from distgan.launch.ray.workers import Node, Workers, decide, parse_workers
from distgan.launch.signals import StopRequest
from distgan.report.facts import event_lines, summary
from distgan.report.reading import read_runs
from distgan.runs import checkpoint, events, records
from distgan.storage.retrying import RetryingStorage
from distgan.storage.scratch import Scratch
from distgan.storage.storage import AppendLog, Storage

from .written_runs import write_run

DIED = WorkerHealthCheckFailedError("", RayActorError(None, "its process has died"))
NODE = WorkerHealthCheckFailedError("", RayActorError(None, "because its node has died"))
MEMORY = WorkerHealthCheckFailedError("", OutOfMemoryError("low on memory"))
TOUCH = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:1")


class Lines:
    """Takes notes."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []

    def __call__(self, text: str, kind: str = "") -> None:
        self.texts.append(text)
        self.kinds.append(kind)


class Failing:
    """Fails so many times."""

    def __init__(self, times: int, error: OSError) -> None:
        self.left, self._error = times, error

    def __call__(self, *_: object) -> None:
        self.left -= 1
        if self.left >= 0:
            raise self._error


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("distgan.storage.retrying.time.sleep", pauses.append)
    return pauses


def test_storage_that_fails_for_a_while_is_tried_again(
    tmp_path: Path, no_pause: list[float]
) -> None:
    lines = Lines()
    storage = RetryingStorage(tmp_path, lines)
    failing = Failing(6, OSError(errno.EIO, "Input/output error"))
    storage.write("a", lambda stream: (failing(), stream.write(b"whole")))
    assert storage.read("a") == b"whole"
    assert no_pause == [1, 2, 4, 8, 8, 8]
    assert lines.kinds == ["storage failing", "storage back"]
    assert "Input/output error" in lines.texts[0]
    assert storage.names() == ["a"]


def test_after_its_time_the_failure_is_told(tmp_path: Path) -> None:
    storage = RetryingStorage(tmp_path, Lines(), seconds=0)
    with pytest.raises(UserError, match="no space left"):
        storage.write("a", lambda _: Failing(9, OSError(errno.ENOSPC, "No space left"))())


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EROFS])
def test_what_no_waiting_mends_is_told_at_once(
    tmp_path: Path, no_pause: list[float], number: int
) -> None:
    lines = Lines()
    with pytest.raises(UserError):
        RetryingStorage(tmp_path, lines).write("a", lambda _: Failing(1, OSError(number, "no"))())
    with pytest.raises(FileNotFoundError):
        RetryingStorage(tmp_path, lines).read("missing")
    assert (no_pause, lines.texts) == ([], [])


def test_a_log_on_a_full_disk_goes_on_where_it_stopped(
    tmp_path: Path, no_pause: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AppendLog(RetryingStorage(tmp_path, Lines()), "log")
    real, full = log._stream, Failing(2, OSError(errno.ENOSPC, "No space left"))

    class Small:
        """Takes three bytes at a time, and between them none."""

        def write(self, content: bytes) -> int:
            full()
            return real.write(content[:3])

    monkeypatch.setattr(log, "_stream", Small())
    log.append("one line")
    log.append("another")
    assert (tmp_path / "log").read_text() == "one line\nanother\n"


def test_tensorboard_on_a_disk_that_fails_neither_hangs_nor_loses_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = records.Recorder(Storage(tmp_path), 0)
    many = {f"value{number}": 1.0 for number in range(40)}
    recorder.add({"images": 1, **many})
    writer = recorder._events._open
    assert writer is not None
    thread = writer.file_writer.event_writer._worker
    monkeypatch.setattr(thread, "_record_writer", Failing(9, OSError(errno.ENOSPC, "full")))
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    for images in range(2, 12):
        recorder.add({"images": images, **many})
        thread.join(0.2)
    assert not thread.is_alive()
    recorder.close()
    newest = sorted((tmp_path / "tensorboard").iterdir())[-1].read_bytes()
    assert newest.count(b"value39") == 11


@pytest.mark.parametrize(
    ("failures", "lost", "said"),
    [
        ({0: TOUCH, 1: DIED}, True, "worker 1 lost (its process was killed)"),
        ({0: NODE, 1: NODE}, True, "workers 0, 1 lost (its node is gone)"),
        ({1: MEMORY}, True, "worker 1 lost (out of memory)"),
        ({1: WorkerHealthCheckTimeoutError("x")}, True, "worker 1 lost (no answer for 60 s)"),
        ({0: TOUCH}, True, "worker 0 lost touch with the others"),
        ({0: TOUCH, 1: ValueError("a\nbug")}, False, "worker 1 failed (ValueError: a bug)"),
    ],
)
def test_a_failure_in_one_line(failures: dict[int, Exception], lost: bool, said: str) -> None:
    assert describe(failures) == (lost, said)


@pytest.fixture
def fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tells a controller's callback of the failures of workers, two in a row allowed."""
    watch = FailurePolicy(str(tmp_path), "key", 2)
    monkeypatch.setattr(watch, "_tell", lambda *_: None)
    return lambda failures: watch._failed(WorkerGroupError("all of it", failures))


def test_failures_count_while_no_checkpoint_is_new(
    tmp_path: Path, fail: Callable[..., None]
) -> None:
    for images in (100, 200):
        for _ in range(2):
            fail({1: DIED})
        checkpoint.save(Storage(tmp_path), {"images_seen": images}, keep=2)
    fail({1: DIED})
    fail({1: Preempted()})
    fail({1: DIED})
    with pytest.raises(UserError, match=r"its process was killed\), 3 times without a new.*resume"):
        fail({1: DIED})


def test_the_same_exception_twice_at_one_place_is_no_accident(fail: Callable[..., None]) -> None:
    fail({1: ValueError("a bug")})
    with pytest.raises(WorkerGroupError, match="all of it"):
        fail({1: ValueError("a bug")})


def test_a_users_mistake_is_not_tried_again(fail: Callable[..., None]) -> None:
    with pytest.raises(UserError, match="mend me"):
        fail({0: TOUCH, 1: UserError("mend me")})


def test_waiting_counts_as_no_failure_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, lines, now = FailurePolicy(str(tmp_path), "key", 0), Lines(), [100.0]
    monkeypatch.setattr(watch, "_tell", lines)
    monkeypatch.setattr("distgan.launch.ray.private.controller.time.monotonic", lambda: now[0])
    waiting = InitializingState()
    for seconds in range(100):
        now[0] = 100.0 + seconds
        watch.after_controller_state_update(waiting, waiting)
    assert lines.kinds == ["waiting"]
    watch.after_controller_state_update(waiting, RunningState())
    timeout = ReschedulingState(ControllerError(WorkerGroupStartupTimeoutError(2)))
    for _ in range(5):
        watch.after_controller_state_update(RunningState(), timeout)
    assert lines.kinds == ["waiting", "waiting"]
    died = ReschedulingState(ControllerError(WorkerGroupStartupFailedError("died")))
    with pytest.raises(UserError, match="the workers died while they started"):
        watch.after_controller_state_update(RunningState(), died)


@pytest.mark.parametrize("text", ["two", "1:", ":2", "1:2:3", "1.5"])
def test_a_number_of_workers_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match=f"--workers {re.escape(text)}: should be a number"):
        parse_workers(text)


def test_as_many_workers_as_there_is_room_for() -> None:
    assert parse_workers("2:8") == (2, 8)
    asked = (2, 8)
    assert decide(asked, "auto", [Node(2), Node(2)], 128) == Workers(4, False, 1, asked)
    assert decide(asked, "auto", [Node(16), Node(16)], 128) == Workers(8, False, 4, asked)
    assert decide(asked, "auto", [Node(16, 3)], 128) == Workers(3, True, 5, asked)
    with pytest.raises(UserError, match="--workers 2:8: more than the 1 CPUs"):
        decide(asked, "auto", [Node(1)], 128)


@pytest.mark.parametrize(
    ("workers", "said"),
    [
        ((0, 2), "--workers 0:2: should be MIN:MAX"),
        ((3, 2), "--workers 3:2: should be MIN:MAX"),
        ((1, 129), r"--workers 1:129: more workers than images in a batch \(128\)"),
    ],
)
def test_ranges_that_make_no_sense(tmp_path: Path, workers: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        distgan.train(
            distgan.recipe("mnist-mlp-tutorial"), out=str(tmp_path / "run"), workers=workers
        )
    with pytest.raises(UserError, match="--max-failures -1: should be 0 or more"):
        distgan.train(
            distgan.recipe("mnist-mlp-tutorial"), out=str(tmp_path / "run"), max_failures=-1
        )


def test_events_wait_for_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(tmp_path)
    log = events.EventLog(storage)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "_write_local", Failing(1, OSError(errno.EIO, "away")))
        log.add("worker lost", "worker 1 lost", 100)
    assert events.read(storage) == []
    log.add("restarted", "restarted from 50 images", 50, workers=2)
    assert [event["kind"] for event in events.read(storage)] == ["worker lost", "restarted"]


class Fit:
    """Something to follow for as many looks as there are messages."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = messages

    def is_alive(self) -> bool:
        return bool(self._messages)

    def join(self, seconds: float) -> None:
        pass

    def get(self, topic: str) -> Any:
        return self._messages.pop(0) if topic == "news" else None


class Notes:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def start(self, plan: object) -> None: ...
    def progress(self, status: object) -> None: ...
    def note(self, text: str, kind: str = "") -> None:
        self.texts.append(text)


def test_a_note_before_the_first_status_is_told_once(tmp_path: Path) -> None:
    status = {"images_seen": 0, "record": {}, "furthest": 0}
    note = ["x.pt is damaged", "checkpoint damaged"]
    who = {"start": "a", "workers": 2, "notes": [note]}
    again = {"start": "b", "workers": 2, "notes": [["another", ""]]}
    messages = [{**m, "status": s} for m in (who, again) for s in (None, status, status)]
    fit, notes, storage = Fit(messages), Notes(), Storage(tmp_path)
    follower = Follower(fit, notes, StopRequest(), storage, lambda: None)  # type: ignore[arg-type]
    follower.follow(fit)  # type: ignore[arg-type]
    assert [text for text in notes.texts if text in (note[0], "another")] == [note[0], "another"]
    assert [e["kind"] for e in events.read(storage)].count("checkpoint damaged") == 1


def test_the_report_tells_what_befell_a_run(tmp_path: Path) -> None:
    log = events.EventLog(Storage(write_run(tmp_path / "run")))
    for images in (4_000, 8_000):
        log.add("worker lost", "worker 1 lost (its process was killed)", images)
        log.add("restarted", "restarted", images, workers=2, images_repeated=1500, seconds=6.4)
    (run,) = read_runs([str(tmp_path / "run")])
    said = dict(summary(run))["events"]
    assert said == "2 worker lost, 2 restarted, 3,000 images repeated, 13 s lost"
    assert event_lines(run)[0][1:] == (
        "4,000",
        "worker 1 lost (its process was killed)",
    )


def test_a_killed_process_leaves_its_scratch_to_the_next(tmp_path: Path) -> None:
    code = (
        "import os; from distgan.storage.scratch import Scratch; "
        "Scratch('drill-'); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    (left,) = tmp_path.iterdir()
    live = (
        "from distgan.storage.scratch import Scratch; "
        "print(Scratch('drill-').path, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", live],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        path = other.stdout.readline().strip()
        assert not left.exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(tmp_path))
            Scratch("drill-").close()
        assert Path(path).exists(), "its process lives"
        other.communicate("\n")


class _Attack:
    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self._mark}",)


def test_a_checkpoint_from_elsewhere_runs_nothing(tmp_path: Path) -> None:
    mark, run = tmp_path / "executed", tmp_path / "run"
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 256})
    distgan.train(config, out=str(run), workers=0)
    storage = Storage(run)
    # A handed run may bring an index that vouches for anything.
    (entry,) = checkpoint.index(storage)
    file = run / entry["file"]
    for content in (pickle.dumps(_Attack(mark)), _zipped(tmp_path, _Attack(mark))):
        file.write_bytes(content)
        (run / checkpoint.INDEX).write_text(
            (run / checkpoint.INDEX)
            .read_text()
            .replace(entry["sha256"], hashlib.sha256(content).hexdigest())
        )
        entry = checkpoint.index(storage)[0]
        with pytest.raises(UserError, match="not a checkpoint"):
            distgan.resume(str(run), {"images": 512}, workers=0)
    assert not mark.exists()
    # The attack works on whoever unpickles.
    pickle.loads(pickle.dumps(_Attack(mark)))
    assert mark.exists()


def _zipped(folder: Path, value: object) -> bytes:
    torch.save({"images_seen": 1, "generator": value}, folder / "attack.pt")
    return (folder / "attack.pt").read_bytes()
