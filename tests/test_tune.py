"""Searches as a whole: real trials, real processes, and what their files say."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from distgan import launch
from distgan.config.settings import override
from distgan.recipes import recipe
from distgan.runs import checkpoint
from distgan.runs import folder as run
from distgan.storage.storage import Storage
from distgan.tune import folder as search_folder
from distgan.tune import on_ray, record, tune
from distgan.tune.settings import TuneSettings

from .conftest import Run, command

LR = "generator.optimizer.lr"
SMALL = ("--num", "100", "--rung-num", "50")


def trial(folder: Path, number: int) -> record.Trial:
    found = record.load(Storage(str(folder)), number)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_search_ends_well_with_trials_that_explode(distgan: Run, tmp_path: Path) -> None:
    space = (
        "--space",
        f"{LR}=choice(2e-4,3e-4,100)",
        "--space",
        f"discriminator.optimizer.lr=same({LR})",
    )
    words = ("--samples", "4", "--max-images", "6k", "--seed", "3")
    done = distgan("tune", *words, *SMALL, *space, "--confirm", "2", "--out", "found")
    assert done.returncode == 0, done.stderr
    trials = record.load_all(Storage(str(tmp_path / "found")))
    states = {t.number: t.state for t in trials if t.confirms is None}
    rates = {t.number: t.changes.get(LR, "0.0002") for t in trials}
    assert set(states.values()) > {"ill"}
    for number, state in states.items():
        # The rate alone decides, and who is ill is named with the reason.
        assert (state == "ill") == (float(rates[number]) == 100), states
        if state == "ill":
            assert f"trial {number} ill: " in done.stdout
    best = done.stdout.split("distgan train --config ")[1].split()[0]
    assert distgan("train", "--config", best, "--images", "128", "--workers", "0").returncode == 0
    with open(tmp_path / "found" / "trials.csv") as lines:
        rows = list(csv.DictReader(lines))
    assert [int(row["trial"]) for row in rows] == [t.number for t in trials]
    assert pq.read_table(tmp_path / "found" / "trials.parquet").num_rows == len(rows)
    assert not list((tmp_path / "found").glob(".*")), "what Ray Tune needed is gone"


def wait_for(condition: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def trainer_of(session: int) -> int:
    """The process in which a trial of a search trains."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (folder / "cmdline").read_bytes()
            if name.startswith(b"ray::ImplicitFunc") and os.getsid(int(folder.name)) == session:
                return int(folder.name)
    raise AssertionError("no trial trains")


def starts(folder: Path, number: int) -> list[int]:
    """Images seen at each start of a trial's run."""
    text = (folder / "trials" / f"{number:04d}" / "environment.json").read_text()
    return [start["images_seen"] for start in json.loads(text)["starts"]]


@pytest.mark.drill
def test_a_killed_search_goes_on_where_it_was(distgan: Run, tmp_path: Path) -> None:
    words = ("tune", "--samples", "3", "--max-images", "16k", "--rung", "2k", "--scheduler", "none")
    out = tmp_path / "found"
    process = subprocess.Popen(
        command(*words, *SMALL, "--concurrent", "1", "--out", "found"),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "stderr").open("w"),
        start_new_session=True,
    )
    first_run, second = (Storage(str(out / "trials" / name)) for name in ("0000", "0001"))
    wait_for(lambda: len(checkpoint.index(first_run)) > 1, 300)
    os.kill(trainer_of(process.pid), signal.SIGKILL)
    wait_for(lambda: len(checkpoint.index(second)) > 1, 300)
    assert starts(out, 0)[0] == 0
    assert len(starts(out, 0)) == 2, "a trial whose process died went on"
    assert starts(out, 0)[1] > 0, "from its checkpoint"
    assert (tmp_path / "stderr").read_text() == "", "Ray said nothing of that"
    trainer = Path(f"/proc/{trainer_of(process.pid)}/exe")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Ray's workers are in no such group; they end when they notice.
    wait_for(lambda: not trainer.exists(), 20)
    first = (out / "trials" / "0000.json").read_bytes()
    reached = checkpoint.index(second)[-1]["images_seen"]
    assert trial(out, 0).state == "finished"
    assert not (out / "best.yaml").exists()
    assert distgan("tune", "--resume", "found").returncode == 0
    assert (out / "trials" / "0000.json").read_bytes() == first, "it was not run again"
    assert starts(out, 1) == [0, reached]
    assert {trial(out, number).state for number in range(3)} == {"finished"}
    rungs = [m.rung for m in trial(out, 1).history]
    assert rungs == sorted(set(rungs)), "no rung was reported twice"


@pytest.mark.drill
def test_ctrl_c_leaves_a_search_that_goes_on(distgan: Run, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("tune", "--samples", "2", "--max-images", "10M", *SMALL, "--out", "found"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    run_of_first = tmp_path / "found" / "trials" / "0000"
    wait_for(lambda: (run_of_first / "environment.json").exists(), 300)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert "distgan tune --resume found" in said
    assert trial(tmp_path / "found", 0).state == "stopped"
    assert checkpoint.index(Storage(str(run_of_first)))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints that members hand on, the newest three of each, stay after the search."""
    monkeypatch.setattr(on_ray, "HANDED_ON", ".nothing")


def tensors(state: Any, name: str = "") -> dict[str, torch.Tensor]:
    if isinstance(state, torch.Tensor):
        return {name: state}
    if isinstance(state, (list, tuple)):
        state = dict(enumerate(state))
    found: dict[str, torch.Tensor] = {}
    if isinstance(state, dict):
        for key, value in state.items():
            found |= tensors(value, f"{name}/{key}")
    return found


def check_population(folder: Path, members: int, adoptions: int) -> None:
    """Members that took over another's state went on as that would have, at their new rates."""
    storage = Storage(str(folder))
    settings = search_folder.read(storage, "TEST")[2]
    trials = [trial(folder, number) for number in range(members)]
    assert {t.state for t in trials} == {"finished"}
    assert sum(len(t.adoptions) for t in trials) >= adoptions
    checked = 0
    for member in trials:
        for adoption in member.adoptions:
            copy = folder / ".handed-on" / f"{adoption.donor:04d}-{adoption.images:012d}.pt"
            if not copy.exists():
                continue
            content = copy.read_bytes()
            assert hashlib.sha256(content).hexdigest() == adoption.sha256
            after = folder / ".handed-on" / f"{member.name}-{_next(adoption, settings):012d}.pt"
            if adoption.donor != member.number and after.exists():
                checked += _continued_by_hand(folder, member, adoption, content, after)
    assert checked


def _next(adoption: record.Adoption, settings: TuneSettings) -> int:
    goal, batch = (adoption.rung + 1) * settings.rung, 128
    return -(-goal // batch) * batch


def _continued_by_hand(
    folder: Path, member: record.Trial, adoption: record.Adoption, content: bytes, after: Path
) -> int:
    base, space, settings = search_folder.read(Storage(str(folder)), "TEST")
    config = override(settings.trial(base, member.seed), space.changes(adoption.point))
    own = Storage(str(folder / f"by-hand-{member.name}-{adoption.rung}"))
    run.create(own, config)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{checkpoint.FOLDER}/images-{adoption.images:012d}.pt"
    entry = {"file": name, "images_seen": adoption.images, "sha256": digest}
    checkpoint.adopt(own, {**entry, "healthy": True, "score": None}, content)
    until = int(after.stem.split("-")[1])
    launch.resume(own.uri, {"images": until}, workers=0, threads=1)
    expected = checkpoint.load_newest(own)
    found = torch.load(after, weights_only=True)
    assert expected is not None
    theirs = tensors(expected)
    assert len(theirs) > 50
    for path, tensor in tensors(found).items():
        assert torch.equal(tensor, theirs[path]), path
    return 1


@pytest.mark.drill
def test_who_takes_over_a_state_goes_on_with_it_at_new_rates(
    cluster: str, kept: None, tmp_path: Path
) -> None:
    settings = TuneSettings(
        scheduler="pbt", samples=2, max_images=4096, rung=1024, num=50, rung_num=50
    )
    space = {LR: "scale(0.3, 3)", "discriminator.penalty.r1": "choice(0, 0.1)"}
    found = tune(recipe("mnist-mlp-tutorial"), space, settings, out=str(tmp_path / "found"))
    assert found.best is not None
    check_population(tmp_path / "found", members=2, adoptions=2)


@pytest.mark.drill
def test_four_members_over_four_perturbations(cluster: str, kept: None, tmp_path: Path) -> None:
    settings = TuneSettings(
        scheduler="pbt", samples=4, max_images=25_600, rung=5_120, num=500, rung_num=200
    )
    tune(recipe("mnist-mlp-tutorial"), None, settings, out=str(tmp_path / "found"))
    check_population(tmp_path / "found", members=4, adoptions=4)


@pytest.mark.drill
def test_a_trial_of_two_workers_by_optuna(cluster: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    settings = TuneSettings(
        search="optuna", samples=2, max_images=4096, num=50, rung_num=50, workers_per_trial=2
    )
    found = tune(recipe("mnist-mlp-tutorial"), None, settings, out=str(tmp_path / "found"))
    assert [t.over for t in found.trials] == [True, True]
    environment = tmp_path / "found" / "trials" / "0000" / "environment.json"
    assert json.loads(environment.read_text())["starts"][0]["workers"] == 2
