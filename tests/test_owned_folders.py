"""What a start that fails leaves of a folder, and that nobody writes to another owner's run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distgan import launch
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.card import Card
from distgan.evaluate.evaluation import Evaluation
from distgan.launch.start import Plan
from distgan.recipes import recipe
from distgan.runs import folder as run
from distgan.storage import ownership
from distgan.storage.ownership import LOCK, Ownership
from distgan.storage.storage import OWNER, Storage
from distgan.tune import folder, search
from distgan.tune.settings import TuneSettings

from .test_ends import Stopping

CONFIG = override(
    recipe("mnist-mlp-tutorial"),
    {
        **{"batch": 64, "images": 64, "generator.network.widths": "8"},
        **{"discriminator.network.widths": "8"},
    },
)


class Failing(Stopping):
    """Fails before the first step, after it was left alone with the folder for a moment."""

    def __init__(self, meanwhile: object = None) -> None:
        super().__init__(10**9)
        self.meanwhile = meanwhile

    def start(self, plan: Plan) -> None:
        if callable(self.meanwhile):
            self.meanwhile()
        raise UserError("no more")


def fail(out: str | None, meanwhile: object = None) -> None:
    with pytest.raises(UserError, match="no more"):
        launch.train(CONFIG, out=out, workers=0, display=Failing(meanwhile))


def test_a_start_that_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    fail("mine")
    fail("new")
    fail(None)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "runs"]


def test_a_start_that_fails_leaves_another_owners_run(tmp_path: Path) -> None:
    out = tmp_path / "run"

    def another() -> None:
        out.rename(tmp_path / "moved")
        with Ownership(Storage(out), "training") as owner:
            run.create(Storage(out), CONFIG)
            owner.claim()

    fail(str(out), another)
    assert sorted(path.name for path in out.iterdir()) == [run.CONFIG, OWNER]


def test_a_search_that_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of two that begin in one second, each has its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-000000")
    (tmp_path / "mine").mkdir()
    seen: list[str] = []

    def interrupted(plan: search.Plan, board: object, stop: object) -> None:
        seen.append(plan.storage.uri)
        assert plan.storage.exists(folder.FILE)
        if len(seen) == 1:
            with pytest.raises(UserError, match="no more"):
                search.tune(CONFIG, settings=settings)
        raise UserError("no more")

    settings = TuneSettings(samples=2, max_images=6400)
    monkeypatch.setattr(search, "_run", interrupted)
    for out in (None, "mine"):
        with pytest.raises(UserError, match="no more"):
            search.tune(CONFIG, settings=settings, out=out)
    name = "searches/mnist-mlp-tutorial-20260101-000000"
    assert seen == [name, f"{name}-2", "mine"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["mine", "searches"]


@pytest.mark.parametrize("first", [run.CONFIG, folder.FILE])
def test_half_a_file_of_a_killed_start_is_no_content(tmp_path: Path, first: str) -> None:
    storage = Storage(tmp_path)
    for name in (f".{first}.123.tmp", ".probe-1234", LOCK):
        storage.write(name, "half")
    ownership.refuse_occupied(storage, first)
    assert storage.names() == [LOCK, ".probe-1234"]
    for name in ("my.tmp", f"{first}.tmp", f".{first}.mine.tmp"):
        storage.write(name, "precious")
        with pytest.raises(UserError, match="is not empty"):
            ownership.refuse_occupied(storage, first)
        assert storage.read(name) == b"precious"
        storage.delete(name)


def test_a_run_that_goes_on_is_fenced_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(tmp_path / "run")
    with Ownership(storage, "training") as owner:
        run.create(storage, CONFIG)
        lost = owner.claim()

    def read(storage: Storage) -> None:
        with pytest.raises(UserError, match="has got another owner"):
            lost.write("metrics.jsonl", "late")
        storage.write("a.txt", "mine")
        raise UserError("no more")

    monkeypatch.setattr(run, "starts", read)
    with pytest.raises(UserError, match="no more"):
        launch.resume(str(tmp_path / "run"), workers=0)
    assert storage.read("a.txt") == b"mine"
    assert json.loads(storage.read(OWNER))["number"] == 2


def test_the_driver_writes_for_its_owner(tmp_path: Path) -> None:
    """All that it does to the folder after the start, it does with this storage."""
    seen: list[Storage] = []

    class Looking(Failing):
        def start(self, plan: Plan) -> None:
            seen.append(plan.storage)
            assert plan.storage.owner == json.loads(plan.storage.read(OWNER))["id"]
            raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        launch.train(CONFIG, out=str(tmp_path / "run"), workers=0, display=Looking())
    with pytest.raises(UserError, match="is gone, or was moved"):
        seen[0].write("events.jsonl", "late")
    assert not (tmp_path / "run").exists()


def test_an_evaluation_makes_no_folder_anew(tmp_path: Path) -> None:
    run.create(Storage(tmp_path / "run"), CONFIG)
    card = Card("e", "0", "none", True, "d", "0", "train", 1, 0, 1, "ema", 0)
    (tmp_path / "run").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="holds no run"):
        evaluation.remember(Storage(tmp_path / "run"), Evaluation(64, 1.0, card, {}))
    assert not (tmp_path / "run").exists()
    evaluation.remember(Storage(tmp_path / "moved"), Evaluation(64, 1.0, card, {}))
    assert len(evaluation.read(Storage(tmp_path / "moved"))) == 1
