"""A search that is killed and resumed comes to what the uninterrupted one came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.recipes import recipe
from distgan.tune import record
from distgan.tune.settings import TuneSettings

from . import tuning

pytestmark = pytest.mark.alone

LR = "generator.optimizer.lr"
SPACE = {LR: "scale(0.1, 30)", "discriminator.penalty.r1": "choice(0, 0.1)"}
SETTINGS = TuneSettings(samples=4, max_images=384, rung=64, num=10, rung_num=10, reduction=2)
WAYS = {
    "asha": SETTINGS,
    "median": dataclasses.replace(SETTINGS, scheduler="median", samples=7),
    "pbt": dataclasses.replace(SETTINGS, scheduler="pbt", max_images=256),
    "optuna": dataclasses.replace(SETTINGS, search="optuna", samples=6),
}


@pytest.fixture(scope="module")
def base() -> RunConfig:
    """The smallest networks."""
    small = {"batch": 32, "latent": 4, "evaluate.metrics": "sliced"}
    small |= {f"{player}.network.widths": "8" for player in ("generator", "discriminator")}
    return override(recipe("mnist-mlp-tutorial"), small)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    tuning.double(monkeypatch)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_five_moments(
    way: str, base: RunConfig, alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "optuna":
        pytest.importorskip("optuna")
    settings = dataclasses.replace(WAYS[way], metric="sliced")

    def run(name: str) -> list[dict[str, Any]]:
        return tuning.outcome(tuning.run(tmp_path / name, base, SPACE, settings))

    expected = run("whole")
    assert {t["state"] for t in expected} <= {"finished", "ended early"}
    if way == "pbt":
        assert sum(len(t["adoptions"]) for t in expected) > 2
    else:
        assert {t["state"] for t in expected} == {"finished", "ended early"}
    for count, before in ((2, True), (3, False), (4, True), (5, False), (6, True)):
        with monkeypatch.context() as patch:
            tuning.kill_at(patch, count, before)
            with pytest.raises(tuning.Killed):
                run("killed")
    found = run("killed")
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == theirs
    for one in expected:
        rungs = [m["rung"] for m in one["history"]]
        assert rungs == sorted(set(rungs)), "one entry a rung"
    again = [t.name for t in record.load_all(tuning.Storage(str(tmp_path / "killed")))]
    assert run("killed") == expected, f"nothing is left to do for {again}"
