"""A search in this process: Ray Tune's part by a double, one trial at a time, and kills."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from distgan.config.run import RunConfig
from distgan.launch.signals import StopRequest
from distgan.storage.storage import Storage
from distgan.training import control
from distgan.tune import folder, record, search, stages, trial
from distgan.tune.points import Listed, brief
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space


class Killed(BaseException):
    """The process is gone, and nothing in it runs any more."""


class Unreachable:
    """A mailbox whose cluster has no head."""

    def __init__(self, *_: Any) -> None: ...

    def put(self, *_: Any) -> None:
        raise RuntimeError("no head")

    get = clear = put


@dataclasses.dataclass(eq=False)
class Member:
    """A trial, as Ray Tune's schedulers see it."""

    config: dict[str, Any]
    trial_id: str
    status: str = "PENDING"
    PENDING, PAUSED, RUNNING, TERMINATED = "PENDING", "PAUSED", "RUNNING", "TERMINATED"


class Doubled:
    """In the place of `distgan.tune.on_ray.Search`."""

    def __init__(
        self, job: Any, room: Any, stop: Any, scheduler: Any, points: Any, count: int, verbose: bool
    ) -> None:
        self._job, self._scheduler, self._points = job, scheduler, points
        self._members: list[Member] = []
        self._last: dict[str, Any] = {}

    def get_live_trials(self) -> list[Member]:
        return [m for m in self._members if m.status != Member.TERMINATED]

    get_trials = get_live_trials

    def run(self, show: Any, over: Any, lost: Any) -> None:
        if isinstance(self._points, Listed):
            while True:
                name = f"trial-{len(self._members)}"
                found = self._points.suggest(name)
                if not isinstance(found, dict):
                    return
                self._begin(Member(found, name))
        for one in self._points:
            self._members.append(Member({"trial": brief(one)}, f"member-{one.number}"))
        while (chosen := self._scheduler.choose_trial_to_run(self)) is not None:
            self._go_on(chosen)

    def _begin(self, member: Member) -> None:
        self._members.append(member)
        self._scheduler.on_trial_add(self, member)
        self._go_on(member)
        self._scheduler.on_trial_complete(self, member, self._last)
        self._points.on_trial_complete(member.trial_id, self._last)

    def _go_on(self, member: Member) -> None:
        member.status = Member.RUNNING
        REPORT.take = lambda metrics: self._heard(member, metrics)
        with contextlib.suppress(SystemExit):
            trial.run_trial(json.loads(json.dumps(member.config)), self._job)
        if member.status == Member.RUNNING:
            member.status = Member.TERMINATED

    def _heard(self, member: Member, metrics: dict[str, Any]) -> None:
        self._last = metrics
        decision = self._scheduler.on_trial_result(self, member, metrics)
        if isinstance(self._points, Listed):
            self._points.on_trial_result(member.trial_id, metrics)
        if decision != "CONTINUE":
            member.status = Member.PAUSED if decision == "PAUSE" else Member.TERMINATED
            raise SystemExit


REPORT = SimpleNamespace(take=None)


def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have searches of this process need no cluster."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(stages, "Search", Doubled)
    # Rungs of these few images last no longer than a look at what was measured.
    monkeypatch.setattr(control, "_SECONDS_BETWEEN_TICKS", 0.0)
    monkeypatch.setattr(trial, "cluster_mailbox", Unreachable)
    monkeypatch.setattr(trial.tune, "report", lambda metrics, **_: REPORT.take(metrics))


def run(
    path: Path,
    base: RunConfig,
    space: dict[str, str],
    settings: TuneSettings,
    owner: str | None = None,
) -> Storage:
    """Begin a search, or go on with it."""
    storage = Storage(str(path), owner=owner)
    settings = settings.settle(base)
    found = Space(base, space)
    room = search._check(base, found, settings, None, "cpu")
    plan = search.Plan(base, found, settings, storage, None, "cpu", False, room)
    if not storage.exists(folder.FILE):
        folder.create(storage, base, found, settings)
    assert plan.room is not None
    plan = dataclasses.replace(plan, room=dataclasses.replace(plan.room, concurrent=1, threads=1))
    stages.Stages(plan, search._Silent(), StopRequest(), time.monotonic()).run()
    return storage


def kill_at(monkeypatch: pytest.MonkeyPatch, count: int, before: bool) -> None:
    """Die when a trial's record is written for the ``count``-th time, before or after that."""
    left, save = [count], record.Trial.save

    def saved(self: record.Trial, storage: Storage) -> None:
        left[0] -= 1
        if left[0] == 0 and before:
            raise Killed
        save(self, storage)
        if left[0] == 0:
            raise Killed

    monkeypatch.setattr(record.Trial, "save", saved)


def outcome(storage: Storage) -> list[dict[str, Any]]:
    """What a search came to, but for the time it took, and when an early end was noticed."""
    found = [dataclasses.asdict(one) for one in record.load_all(storage)]
    for one in found:
        del one["seconds"]
        if one["state"] in ("ended early", "ill"):
            del one["images"]
    return found
