"""Processes of an owner who was followed write no more: neither in a search nor in a set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.config.settings import override
from distgan.data import prepare as preparing
from distgan.data.manifest import MANIFEST
from distgan.data.prepare import PrepareSettings
from distgan.data.unfinished import UNFINISHED
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from distgan.recipes import recipe
from distgan.storage.ownership import LOCK, Ownership
from distgan.storage.storage import OWNER, Storage
from distgan.tune import folder, record, results, search
from distgan.tune.record import Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

from . import tuning
from .test_sources import class_folders
from .test_unfinished import content

SMALL = override(
    recipe("mnist-mlp-tutorial"),
    {
        **{"batch": 32, "latent": 4, "evaluate.metrics": "sliced"},
        **{f"{player}.network.widths": "8" for player in ("generator", "discriminator")},
    },
)
SPACE = {"generator.optimizer.lr": "scale(0.1, 30)"}
SETTINGS = TuneSettings(
    **{"samples": 2, "max_images": 256, "rung": 64, "num": 10, "rung_num": 10},  # type: ignore[arg-type]
    metric="sliced",
)
ANOTHER = "has got another owner"


class KilledError(BaseException):
    """Stands for a kill: nothing runs after it."""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    tuning.double(monkeypatch)
    yield
    torch.set_num_threads(threads)


def test_a_lost_driver_of_a_search_writes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[search.Plan] = []
    found = results.sum_up("x", [], SETTINGS, "", 0.0)

    def began(plan: search.Plan, board: object, stop: object) -> Any:
        Trial(number=len(plans), point={}, seed=0).save(plan.storage)
        plans.append(plan)
        return found

    monkeypatch.setattr(search, "_run", began)
    out = tmp_path / "s"
    search.tune(SMALL, SPACE, SETTINGS, out=str(out), device="cpu")
    search.resume(str(out), device="cpu")
    lost, now = (plan.storage for plan in plans)
    before = content(out)
    assert {OWNER, folder.FILE, "trials/0000.json", "trials/0001.json"} == set(before)
    for late in (
        lambda: Trial(number=1, point={}, seed=1).save(lost),
        lambda: folder.write(lost, SMALL, Space(SMALL, SPACE), SETTINGS),
        lambda: results.write(lost, found, SMALL, Space(SMALL, SPACE), SETTINGS),
        lambda: lost.delete("trials/0001.json"),
        lambda: lost.delete_folder("trials"),
        lambda: lost.move("trials/0001.json", "trials/0002.json"),
        # The run of a trial, too, is taken by nobody who belongs to a search before.
        lambda: Ownership(lost.child("trials/0001"), "training").__enter__().claim(),
    ):
        with pytest.raises(UserError, match=ANOTHER):
            late()
    folder.clear_unfinished(lost)
    (out / "trials" / "0001" / ".lock").unlink()
    assert content(out) == before
    Trial(number=1, point={}, seed=1).save(now)
    assert content(out) != before


@pytest.mark.slow
def test_a_trial_of_a_lost_search_ends(
    alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "s", SETTINGS.settle(SMALL)
    with Ownership(Storage(out), "a search") as owner:
        folder.create(Storage(out), SMALL, Space(SMALL, SPACE), settings)
        lost = owner.claim().owner
    save, seen, records = record.Trial.save, [0], {}

    def saved(trial: Trial, storage: Storage) -> None:
        seen[0] += 1
        if seen[0] == 3:
            with Ownership(Storage(out), "a search") as owner:
                owner.claim()
            records.update(content(out / "trials"))
        save(trial, storage)

    with monkeypatch.context() as patch:
        patch.setattr(record.Trial, "save", saved)
        with pytest.raises(UserError, match=ANOTHER):
            tuning.run(out, SMALL, SPACE, SETTINGS, owner=lost)
    assert seen[0] > 2
    mine = {name for name in records if "/" not in name}
    assert mine == {"0000.json"}
    assert all(content(out / "trials")[name] == records[name] for name in mine)


def test_tasks_of_a_lost_preparation_write_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = str(class_folders(tmp_path / "source")), tmp_path / "set"
    make, lost = preparing._make, []

    def killed(*given: Any) -> Any:
        lost.append(given[:2])
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("distgan.data.unfinished.clear", lambda storage: None)
        patch.setattr(preparing, "_make", killed)
        with pytest.raises(KilledError):
            prepare(source, str(out), PrepareSettings(), workers=0)
    (jobs, work) = lost[0]
    assert (out / UNFINISHED / OWNER).exists()

    def wakes_up(said: str) -> None:
        before = content(out)
        with pytest.raises(UserError, match=said):
            work.make(jobs[0])
        storage = Storage(out).owned_by(jobs[0].owner, UNFINISHED)
        with pytest.raises(UserError, match=said):
            storage.write(MANIFEST, "{}")
        with pytest.raises(UserError, match=said):
            storage.move(jobs[0].name, "train.parquet")
        assert content(out) == before

    def meanwhile(*given: Any) -> Any:
        wakes_up(ANOTHER)
        made = make(*given)
        wakes_up(ANOTHER)
        return made

    monkeypatch.setattr(preparing, "_make", meanwhile)
    prepare(source, str(out), PrepareSettings(), workers=0)
    wakes_up("is gone, or was moved or emptied")
    monkeypatch.undo()
    prepare(source, str(tmp_path / "straight"), PrepareSettings(), workers=0)
    assert content(out) == content(tmp_path / "straight")


def test_a_driver_that_lost_its_set_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that slept until its lease was over, and another prepares there."""
    source, out = str(class_folders(tmp_path / "source")), tmp_path / "set"
    make, seen = preparing._make, {}

    def slept(*given: Any) -> Any:
        made = make(*given)
        (out / UNFINISHED / OWNER).write_text('{"number": 2, "id": "another"}')
        seen.update(content(out))
        return made

    monkeypatch.setattr(preparing, "_make", slept)
    with pytest.raises(UserError, match=ANOTHER):
        prepare(source, str(out), PrepareSettings(), workers=0)
    assert len(seen) > 2
    del seen[LOCK]
    assert content(out) == seen
