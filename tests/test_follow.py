"""What driver and workers tell each other, without Ray: messages, losses, disks that are full."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from distgan.launch.ray.driver import LOST, Follower
from distgan.launch.ray.messages import FolderMailbox, MailboxControl
from distgan.launch.signals import StopRequest
from distgan.runs import events
from distgan.storage.storage import Storage
from distgan.training.control import Status


class FullDisk(FolderMailbox):
    """Has no room for the first messages."""

    refusals = 10**9

    def put(self, topic: str, message: Any) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise OSError(28, "No space left on device")
        super().put(topic, message)


class Fit:
    """A thread that trains for so many looks."""

    def __init__(self, looks: list[Any]) -> None:
        self._looks = looks

    def is_alive(self) -> bool:
        return bool(self._looks)

    def join(self, _: float) -> None:
        self._looks.pop(0)()


def test_messages_in_a_folder(tmp_path: Path) -> None:
    channel, other = FolderMailbox(str(tmp_path / "m")), FolderMailbox(str(tmp_path / "m"))
    assert channel.get("news") is None
    channel.put("news", {"images": 1})
    channel.put("news", {"images": 2})
    channel.put("stop", "SIGINT")
    assert other.get("news") == {"images": 2}
    other.remove("news")
    other.remove("news")
    assert (channel.get("news"), channel.get("stop")) == (None, "SIGINT")
    other.clear()
    assert not list((tmp_path / "m").iterdir())


def test_a_worker_hears_a_stop_though_it_can_tell_nothing(tmp_path: Path) -> None:
    FolderMailbox(str(tmp_path / "m")).put("stop", "SIGTERM")
    channel = FullDisk(str(tmp_path / "m"))
    with MailboxControl(channel, "first", 1, lambda: False, lambda status: None) as control:
        control.report(Status(128))
        until = time.monotonic() + 20
        while not control.stop_signal() and time.monotonic() < until:
            time.sleep(0.05)
        assert control.stop_signal() == "SIGTERM"


def _follow(folder: Path, channel: FolderMailbox, stop: StopRequest, looks: list[Any]) -> list[str]:
    said: list[str] = []
    display: Any = SimpleNamespace(
        note=lambda text, kind: said.append(text), progress=lambda status: None
    )
    follower = Follower(channel, display, stop, Storage(folder), lambda: said.append("settled"))
    fit: Any = Fit(looks)
    follower.follow(fit)
    return said


def _news(start: str, images: int) -> dict[str, Any]:
    status = {"images_seen": images, "record": {}, "furthest": images}
    return {"start": start, "workers": 2, "status": status, "notes": []}


def test_a_stop_is_passed_on_when_there_is_room(tmp_path: Path) -> None:
    channel, stop = FullDisk(str(tmp_path / "m")), StopRequest()
    channel.refusals = 0
    channel.put("news", _news("first", 128))
    channel.refusals, stop.name = 2, "SIGINT"
    _follow(tmp_path, channel, stop, [lambda: None] * 4)
    assert channel.get("stop") == "SIGINT"


def test_a_stop_does_not_wait_for_a_cluster_that_was_ended_with_it(tmp_path: Path) -> None:
    channel, stop, said = FolderMailbox(str(tmp_path / "m")), StopRequest(), list[str]()
    channel.put("news", _news("first", 128))
    display: Any = SimpleNamespace(
        note=lambda text, kind: said.append(text), progress=lambda status: None
    )
    follower = Follower(
        channel, display, stop, Storage(tmp_path), lambda: None, lost=lambda: bool(stop.name)
    )
    looks = [lambda: None, lambda: setattr(stop, "name", "SIGTERM"), *[lambda: None] * 99]
    fit = Fit(looks)
    follower.follow(fit)  # type: ignore[arg-type]
    assert fit.is_alive()
    assert said == [LOST]


def test_a_loss_before_anything_was_heard_is_told_as_a_restart(tmp_path: Path) -> None:
    channel = FolderMailbox(str(tmp_path / "m"))
    looks = [
        lambda: channel.put("told", [("worker 0 lost", "worker lost")]),
        lambda: channel.put("news", _news("second", 256)),
    ]
    said = _follow(tmp_path, channel, StopRequest(), looks)
    assert said[0] == "worker 0 lost"
    assert said[1].startswith("restarted from 256 images with 2 workers; ")
    assert said[2:] == ["settled"]
    kinds = [event["kind"] for event in events.read(Storage(tmp_path))]
    assert kinds == ["worker lost", "restarted"]


def test_the_first_start_is_no_restart_though_its_loss_is_heard_with_it(tmp_path: Path) -> None:
    channel = FolderMailbox(str(tmp_path / "m"))
    channel.put("told", [("worker 0 lost", "worker lost")])
    looks = [lambda: channel.put("news", _news("first", 128))]
    assert _follow(tmp_path, channel, StopRequest(), looks) == ["worker 0 lost", "settled"]


class AwayOnce(FolderMailbox):
    """Whose first reads fail, as those of a cluster whose head is away."""

    failures = 3

    def get(self, topic: str) -> Any:
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("the head is away")
        return super().get(topic)


def test_a_head_that_is_away_for_a_moment_ends_no_driver(tmp_path: Path) -> None:
    channel, lines = AwayOnce(str(tmp_path / "m")), list[str]()
    channel.put("told", [["worker 1 lost", "worker lost"]])
    display = SimpleNamespace(
        note=lambda text, kind: lines.append(text), progress=lambda status: None
    )
    fit = Fit([lambda: None] * 4)
    follower = Follower(channel, display, StopRequest(), Storage(tmp_path / "run"), lambda: None)
    follower.follow(fit)  # type: ignore[arg-type]
    assert lines == ["worker 1 lost"]
