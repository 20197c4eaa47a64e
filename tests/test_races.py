"""Benchmarks against others: do all compute the same, and do the tables say what was found?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import textbook
from benchmarks.frame import machine
from benchmarks.peers import contest
from benchmarks.peers.contest import PEERS, Reference, Task
from benchmarks.quality import records
from benchmarks.quality.__main__ import COURSES, key, known
from benchmarks.quality.race import Course, race
from benchmarks.quality.racers import BEST_PEER
from distgan.networks.kernels import linear
from distgan.networks.mlp import MLPGenerator

pytestmark = pytest.mark.alone

_EXACT = Task("W1", 1, "float64")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def _after(name: str, updates: int = 2) -> contest.Trained:
    contender = contest.build(name, _EXACT)
    for _ in range(updates):
        contender.work()
    return contender.weights()


def _apart(a: contest.Trained, b: contest.Trained) -> float:
    start = contest.trained_from(_EXACT)
    return max(map(contest.deviation, a, b, start))


@pytest.mark.parametrize("rule", ["", ", fresh fakes"])
def test_distgan_computes_what_the_textbook_does(rule: str) -> None:
    assert _apart(_after("distgan" + rule), _after("textbook" + rule)) < 1e-8


def test_another_momentum_or_other_fakes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = _after("textbook", 4)
    assert _apart(_after("textbook, fresh fakes", 4), right) > 0.02
    monkeypatch.setattr(textbook, "BETAS", (0.6, 0.999))
    assert _apart(_after("textbook", 4), right) > 0.02


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("distgan, 2 ranks", marks=pytest.mark.drill),
        *(name for name, peer in PEERS.items() if peer.needs),
    ],
)
def test_a_peer_computes_what_the_textbook_does(name: str) -> None:
    task = Task("W1", 2)
    if PEERS[name].missing:
        pytest.skip(f"{name}: not installed")
    reference = Reference.of(PEERS[name].rule, task)
    assert reference.deviation(contest.trained(name, task)) <= reference.allowed


@pytest.mark.slow
def test_the_peer_that_races_is_sampled_as_the_textbook_is() -> None:
    if PEERS[BEST_PEER].missing:
        pytest.skip(f"{BEST_PEER}: not installed")
    task = Task("W2", 2)
    drawn = []
    for name in ("textbook", BEST_PEER):
        contender, network = contest.build(name, task), task.networks()[0]
        for _ in range(2):
            contender.work()
        assert contender.fill is not None
        contender.fill(network)
        for ours, theirs in zip(network.parameters(), contender.weights()[0], strict=True):
            assert torch.equal(ours, torch.from_numpy(theirs))
        with torch.no_grad():
            drawn.append(network.eval()(torch.randn(32, 100, generator=torch.manual_seed(0))))
    # One update less moves an image by 0.011.
    assert (drawn[0] - drawn[1]).abs().max() < 0.002


def test_who_computes_something_else_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    start = contest.trained_from(_EXACT)
    reference = Reference(_after("textbook", 4), start, allowed=1e-3)
    assert contest.prepare("distgan", _EXACT, reference)(0.01)["deviation"] < 1e-8
    monkeypatch.setattr(textbook, "BETAS", (0.6, 0.999))
    with pytest.raises(RuntimeError, match="deviate by"):
        contest.prepare("textbook", _EXACT, reference)


def test_others_are_given_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(linear, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(linear, "_product", lambda *_: asked.append("oneDNN"))
    for network in Task("W1", 2).networks():
        size = 100 if isinstance(network, MLPGenerator) else 784
        network(torch.rand(4, size) if size == 100 else torch.rand(4, 1, 28, 28))
    assert not asked


def _record(seed: int, provisional: bool = False) -> dict[str, Any]:
    def side(*points: tuple[float, int, float]) -> dict[str, Any]:
        made = [{"seconds": s, "images": n, "frechet": f} for s, n, f in points]
        reached = next((e for e in made if e["frechet"] <= 20), None)
        card = {"extractor": "x", "extractor_hash": "0" * 16, "real": 5, "fake": 5}
        return {"card": card, "reached": reached, "others": 0.0, "evaluations": made}

    course, names = replace(COURSES["mnist"], target=20.0), ["textbook", "distgan"]
    return {
        "key": key(course, names, 60_000),
        "provisional": provisional,
        "seed": seed,
        "course": {"name": "mnist", "features": "mnist", "target": 20.0, "limit": 100.0},
        "images": 60_000,
        "machine": {**machine.describe(), "time": f"2026-01-0{seed}T00:00", "threads": 2},
        "sides": {
            "textbook": side((30, 300, 50.0), (60, 600, 19.0)),
            "distgan": side((30, 900, 18.0), (60, 1800, 7.0)),
        },
    }


def test_a_record_tells_how_much_sooner_at_equal_time_and_images() -> None:
    record, pair = _record(1), ("textbook", "distgan")
    assert records.row(record, *pair)[1:7] == ["60", "30", "2.0", "19.0", "7.0", "-"]
    record["sides"]["textbook"]["reached"] = None
    assert records.row(record, *pair)[1:4] == ["over 100", "30", "over 3.3"]


def test_races_are_not_repeated_but_provisional_ones_are(tmp_path: Path) -> None:
    course, names = replace(COURSES["mnist"], target=20.0), ["textbook", "distgan"]
    records.write(tmp_path, _record(1))
    records.write(tmp_path, _record(2, provisional=True))
    assert known(tmp_path, course, names, 1, provisional=False)
    assert not known(tmp_path, course, names, 2, provisional=False)
    assert known(tmp_path, course, names, 2, provisional=True)
    assert not known(tmp_path, COURSES["mnist"], names, 1, provisional=False)
    assert key(course, names, 60_000) != key(course, names, 50_000)
    assert "2.0 times sooner" in (tmp_path / "README.md").read_text()


def test_who_is_there_stops_after_a_minute_and_is_measured_less_often_from_then() -> None:
    course = Course("mnist", "mnist", "mnist", target=16, every=3, limit=300)
    marks = [0.0]
    while marks[-1] < 70:
        marks.append(course.mark(marks[-1] + 0.1))
    assert marks == [*range(0, 61, 3), 66, 72]


@pytest.mark.drill
def test_a_race_measures_both_at_the_same_seconds() -> None:
    course = Course("mnist", "mnist", "mnist", target=1e9, every=0.3, limit=0.3, num=100, fine=0.3)
    found = race(course, ["textbook", "distgan"], 1, lambda *_: None)
    for side in found.values():
        assert len(side["evaluations"]) == 1
        assert side["reached"]["seconds"] >= 0.3
        assert side["reached"]["images"] > 0
    assert found["textbook"]["card"] == found["distgan"]["card"]
