"""How a search ends, goes on, and what it leaves: real trials, in this process."""

from __future__ import annotations

import importlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from distgan import errors, launch
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.sides import open_sets
from distgan.errors import AllTrialsDivergedError, AllTrialsFailedError, UserError
from distgan.launch.signals import StopRequest
from distgan.recipes import recipe
from distgan.runs import checkpoint, records
from distgan.runs import folder as run
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage
from distgan.training.control import Status
from distgan.tune import disk, folder, on_ray, population, record, results, search, trial
from distgan.tune.settings import TuneSettings
from distgan.tune.summary_text import conclusion
from distgan.tune.trial_resources import TrialResources

from . import tuning

LR = "generator.optimizer.lr"
SPACE = {LR: "scale(0.5, 2)"}
SETTINGS = TuneSettings(
    samples=2, max_images=128, rung=64, num=10, rung_num=10, metric="sliced", scheduler="none"
)


@pytest.fixture(scope="module")
def base() -> RunConfig:
    """The smallest networks."""
    small = {"batch": 32, "latent": 4}
    small |= {f"{player}.network.widths": "8" for player in ("generator", "discriminator")}
    return override(recipe("mnist-mlp-tutorial"), small)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    tuning.double(monkeypatch)
    yield
    torch.set_num_threads(threads)


def summed(storage: Storage) -> results.Found:
    return results.sum_up(storage.uri, record.load_all(storage), SETTINGS)


def test_a_trial_that_failed_goes_on_when_the_search_is_resumed(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(launch, "train", broken)
        storage = tuning.run(tmp_path / "found", base, SPACE, SETTINGS)
    found = summed(storage)
    error = results.failure(found)
    assert isinstance(error, AllTrialsFailedError)
    assert "2 of 2 failed; the first, trial 0: the disk is full" in str(error)
    assert not any("smaller space" in line for line in conclusion(found, SETTINGS))
    tuning.run(tmp_path / "found", base, SPACE, SETTINGS)
    assert [t.state for t in record.load_all(storage)] == ["finished", "finished"]
    assert results.failure(summed(storage)) is None


def test_a_killed_process_is_recorded_and_its_trial_goes_on(tmp_path: Path) -> None:
    job = SimpleNamespace(mailbox="", storage=lambda: Storage(tmp_path), settings=SETTINGS)
    found = on_ray.Search(job, TrialResources(1, 0, 1, False), StopRequest(), None, [], 0)  # type: ignore[arg-type]
    given = {"number": 3, "point": {LR: 1.5}, "seed": 0, "confirms": None}
    # Before it could write a record of its own.
    found._settle(given, "its process died")
    known = record.load(Storage(str(tmp_path)), 3)
    assert known is not None
    assert (known.state, known.why, known.point) == ("failed", "its process died", {LR: 1.5})
    assert not known.settled, "a resumed search tries it again, whatever --retries was"


def test_a_search_whose_trials_all_diverged_says_so(base: RunConfig, tmp_path: Path) -> None:
    wild = override(base, {LR: 1e12, "discriminator.optimizer.lr": 1e12})
    storage = tuning.run(tmp_path / "found", wild, SPACE, SETTINGS)
    error = results.failure(summed(storage))
    assert {t.state for t in record.load_all(storage)} == {"ill"}
    assert isinstance(error, AllTrialsDivergedError)
    assert "2 of 2 diverged or collapsed; the first, trial 0: " in str(error)


def test_every_kind_of_end_has_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = importlib.import_module("distgan.cli.main")
    kinds = {
        errors.UserError: 2,
        errors.IllHealthError: 3,
        errors.LostWorkersError: 4,
        AllTrialsDivergedError: 5,
        AllTrialsFailedError: 6,
    }
    for kind, code in kinds.items():

        def fail(*_: object, kind: type[UserError] = kind) -> Any:
            raise kind("what happened")

        monkeypatch.setattr(command_line, "parse", fail)
        assert command_line.main([]) == code
        assert capsys.readouterr().err == "distgan: what happened\n"
        assert f"\n  {code}  " in errors.EXIT_CODES


EDITS = {
    "space": lambda content: content["space"].update({LR: "scale(0.5, 3)"}),
    "config": lambda content: content["config"].update(batch=64),
    "settings": lambda content: content["settings"].update(num=20),
}


@pytest.mark.parametrize("section", EDITS)
def test_a_search_edited_by_hand_is_refused(section: str, base: RunConfig, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "found"))
    settings = SETTINGS.settle(base)
    folder.create(storage, base, search.Space(base, SPACE), settings)
    folder.check_unedited(storage, "--resume")
    content = yaml.safe_load(storage.read_text(folder.FILE))
    # Another way to write the same is no edit.
    storage.write(folder.FILE, yaml.safe_dump(content, default_flow_style=True))
    folder.check_unedited(storage, "--resume")
    EDITS[section](content)
    storage.write(folder.FILE, yaml.safe_dump(content))
    with pytest.raises(UserError, match=rf"search\.yaml: its {section} was edited since"):
        search.resume(storage.uri)


@pytest.mark.parametrize("section", [*EDITS, None])
def test_a_search_without_checksums_is_refused(
    section: str | None, base: RunConfig, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path / "found"))
    folder.create(storage, base, search.Space(base, SPACE), SETTINGS.settle(base))
    content = yaml.safe_load(storage.read_text(folder.FILE))
    if section is None:
        del content["checksums"]
    else:
        del content["checksums"][section]
        EDITS[section](content)
    storage.write(folder.FILE, yaml.safe_dump(content))
    with pytest.raises(UserError, match=r"search\.yaml: the checksum of its \w+ is gone"):
        search.resume(storage.uri)


RECORD_EDITS = {
    "history": lambda content: content["history"][0].update(value=0.01),
    "final": lambda content: content["final"].update(value=0.01),
    "state": lambda content: content.update(state="failed"),
    "seconds": lambda content: content.update(seconds=0.5),
    "checksum": lambda content: content.pop("checksum"),
    "checksum and final": lambda content: (content.pop("checksum"), content.update(final=None)),
}


@pytest.mark.parametrize("edit", RECORD_EDITS)
def test_a_record_edited_by_hand_is_refused(edit: str, base: RunConfig, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "found"))
    folder.create(storage, base, search.Space(base, SPACE), SETTINGS.settle(base))
    measured = record.Measured(1, 64, 10, 0.25, 0.125, float("inf"))
    trial = record.Trial(number=0, point={}, seed=0, history=[measured], final=measured)
    trial.save(storage)
    file = tmp_path / "found" / "trials" / "0000.json"
    content = json.loads(file.read_text())
    # Another way to write the same is no edit.
    file.write_text(json.dumps(content, sort_keys=True))
    assert record.load(storage, 0) is not None
    RECORD_EDITS[edit](content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"0000\.json: was edited since .*; undo the edit, or del"):
        search.resume(storage.uri)


def test_a_trial_edited_by_hand_is_refused(base: RunConfig, tmp_path: Path) -> None:
    storage, space = Storage(str(tmp_path / "found")), search.Space(base, SPACE)
    settings = SETTINGS.settle(base)
    folder.create(storage, base, space, settings)
    record.Trial(number=1, point={LR: 1.234}, seed=0).save(storage)
    with pytest.raises(UserError, match=r"0001\.json: its point is not the one that"):
        search.resume(storage.uri)


def test_losers_leave_no_checkpoints_and_the_disk_is_told(base: RunConfig, tmp_path: Path) -> None:
    storage = tuning.run(tmp_path / "found", base, SPACE, SETTINGS)
    trials = record.load_all(storage)
    best = results.ranked(trials, SETTINGS)[0]
    for one in trials:
        run = tmp_path / "found" / "trials" / one.name
        assert bool(list(run.glob("checkpoints/*.pt"))) == (one is best)
        assert (run / "generator_ema.safetensors").exists(), "it can be sampled from"
    sets = open_sets(base)
    whole = override(recipe("mnist-mlp-tutorial"), {"batch": 32})
    state = whole_checkpoint(whole, tmp_path / "whole")
    one, result = disk.sizes(whole, sets)
    assert one == pytest.approx(state, rel=0.05)
    exported = [file.stat().st_size for file in (tmp_path / "whole").glob("*.safetensors")]
    assert result == pytest.approx(sum(exported), rel=0.05)
    line = disk.describe(whole, sets, SETTINGS.settle(whole), 1, storage)
    assert "a checkpoint is 31 MB" in line


def whole_checkpoint(config: RunConfig, path: Path) -> int:
    """Bytes of one, written by a run."""
    launch.train(override(config, {"images": 32}), out=str(path), workers=0, device="cpu")
    (entry,) = checkpoint.index(Storage(str(path)))[-1:]
    return (path / entry["file"]).stat().st_size


def test_the_last_measurement_is_made_where_the_trial_trained(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def measured(uri: str, wanted: object, **options: object) -> Any:
        asked.update(options)
        values = {"sliced": {"value": 1.0, "low": None, "high": None}}
        return SimpleNamespace(
            to_dict=lambda: {"values": values, "images": 128, "card": {"fake": 10}}
        )

    monkeypatch.setattr(trial, "evaluate", measured)
    tuning.REPORT.take = lambda metrics: None
    settings = replace(SETTINGS.settle(base), workers_per_trial=2)
    job = trial.Job(str(tmp_path), settings, search.Space(base, SPACE), base, "", 0, 3, "cpu")
    trial._Runner(job, {"number": 0, "point": {}, "seed": 0, "confirms": None})._finish()
    assert asked == {"workers": 2, "threads": 3, "device": "cpu"}


def test_a_head_that_is_away_ends_no_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    over = threading.Event()

    class Away:
        """A mailbox of a head that comes back after three calls."""

        def __init__(self, *_: object) -> None: ...

        def put(self, topic: str, message: object) -> None:
            calls.append(topic)
            if len(calls) < 4:
                raise RuntimeError("the head is away")
            over.set()

        def get(self, topic: str) -> None:
            raise RuntimeError("the head is away")

        clear = put

    monkeypatch.setattr(on_ray, "cluster_mailbox", Away)
    monkeypatch.setattr(on_ray, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(on_ray.Search, "_tuner", lambda self: None)
    monkeypatch.setattr(on_ray.Search, "_fit", lambda self, tuner: over.wait(30))
    job = SimpleNamespace(mailbox="", storage=lambda: Storage(tmp_path), settings=SETTINGS)
    stop = StopRequest()
    stop.name = "SIGINT"
    found = on_ray.Search(job, TrialResources(1, 0, 1, False), stop, None, [], 0)  # type: ignore[arg-type]
    found._ears.running.add(0)
    monkeypatch.setattr(Away, "clear", lambda self: calls.append("clear"))
    found.run(lambda news: None, lambda: False)
    assert calls == ["stop"] * 4 + ["clear"], "told again until it was heard, and once"


def test_a_search_does_not_wait_for_a_cluster_that_was_ended_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        """Whose head is gone: Ray waits a minute for it."""

        def __init__(self, name: str) -> None: ...

        def put(self, topic: str, value: Any = None) -> None:
            threading.Event().wait(60)

        get = clear = put

    ended = threading.Event()
    monkeypatch.setattr(on_ray, "cluster_mailbox", Silent)
    monkeypatch.setattr(on_ray, "_SECONDS_BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(on_ray.Search, "_tuner", lambda self: None)
    monkeypatch.setattr(on_ray.Search, "_fit", lambda self, tuner: ended.wait(60))
    job = SimpleNamespace(mailbox="", storage=lambda: Storage(tmp_path), settings=SETTINGS)
    stop, looks = StopRequest(), [False, False, True]
    stop.name = "SIGTERM"
    found = on_ray.Search(job, TrialResources(1, 0, 1, False), stop, None, [], 0)  # type: ignore[arg-type]
    start = time.monotonic()
    found.run(lambda news: None, lambda: False, lambda: looks.pop(0))
    assert time.monotonic() - start < 30
    assert not looks
    ended.set()


def runner(base: RunConfig, folder: Path, settings: TuneSettings) -> trial._Runner:
    job = trial.Job(str(folder), settings, search.Space(base, SPACE), base, "", 0, 1, "cpu")
    return trial._Runner(job, {"number": 0, "point": {}, "seed": 0, "confirms": None})


@pytest.mark.parametrize("stopping", [True, False])
def test_a_trial_that_reports_while_the_search_stops_has_lost_nothing(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopping: bool
) -> None:
    """Ray Tune ends it there either way."""
    one = runner(base, tmp_path, SETTINGS.settle(base))

    def end(**_: object) -> None:
        if stopping:
            one._watch.stop.name = "SIGTERM"
        raise SystemExit

    monkeypatch.setattr(one, "_train", end)
    with pytest.raises(SystemExit):
        one.run()
    (found,) = record.load_all(Storage(tmp_path))
    assert found.state == ("stopped" if stopping else "ended early")


def test_an_illness_between_two_looks_ends_a_trial(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which of a run's states are seen as they come depends on how fast the machine is."""
    one = runner(base, tmp_path, SETTINGS.settle(base))
    run.create(one._run, base)
    states = {32: "healthy", 64: "generator wins", 96: "collapsed", 128: "healthy"}
    lines = [{"images": n, "health": state, "evidence": "alike"} for n, state in states.items()]
    one._run.write(records.METRICS, "".join(json.dumps(line) + "\n" for line in lines))
    asked = list[float]()
    monkeypatch.setattr(one, "measured", lambda images, before: asked.append(before))
    one._watch.progress(Status(140, lines[-1]))
    assert one._watch.stop.name == "SIGTERM"
    assert one._watch.why.startswith("collapsed at 96 images: alike")
    assert asked == [96], "what was measured since does not count"
    # Whoever takes over a healthy state begins anew from there.
    one._trial.adoptions.append(record.Adoption(1, 128, 1, "", {}))
    assert one.illness() is None


def test_a_trial_waits_for_its_old_process(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = runner(base, tmp_path, SETTINGS.settle(base))
    entered: list[str] = []
    create = run.create

    def created(storage: Storage, config: RunConfig) -> None:
        entered.append("new")
        create(storage, config)
        raise UserError("no more")

    def leave() -> None:
        entered.append("old")
        old.__exit__(None, None, None)

    monkeypatch.setattr(run, "create", created)
    tuning.REPORT.take = lambda metrics: None
    old = Ownership(one._run, "training").__enter__()
    timer = threading.Timer(0.3, leave)
    timer.start()
    one.run()
    timer.join()
    assert entered == ["old", "new"]
    assert record.load_all(Storage(tmp_path))[0].why == "no more"


def test_a_state_is_adopted_only_by_the_owner(
    base: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = runner(base, tmp_path, SETTINGS.settle(base))
    run.create(one._run, base)
    checkpoint.save(one._run, {"images_seen": 64}, 1)
    entry, name = checkpoint.index(one._run)[0], trial._copy(1, 64)
    content = one._run.read(entry["file"]) + b"donor"
    one._search.write(f"{name}.json", json.dumps(entry))
    one._search.write(f"{name}.pt", content)
    found = population.Takeover(1, 64, one._trial.point)
    monkeypatch.setattr(trial, "_SECONDS_TO_LEAVE", 0)
    with Ownership(one._run, "training") as other:
        lost = other.claim()
        with pytest.raises(UserError, match="training goes on there"):
            one._adopt(found, 1)
        assert not one._trial.adoptions
        assert one._run.read(entry["file"]) != content
    one._adopt(found, 1)
    assert one._run.read(entry["file"]) == content
    # Whoever wrote for the owner before does so no more.
    with pytest.raises(UserError, match="has got another owner"):
        lost.write("metrics.jsonl", "late")
