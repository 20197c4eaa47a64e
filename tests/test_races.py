"""Benchmarks against others: do all compute the same, and do the tables say what was found?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import textbook, turns
from benchmarks.peers import contest
from benchmarks.peers.__main__ import rows
from benchmarks.peers.contest import PEERS, Referee, Task
from benchmarks.quality import records
from benchmarks.quality.__main__ import COURSES, key, known
from benchmarks.quality.race import Course, race

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
    start = [contest.of_torch(network) for network in _EXACT.networks()]
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
    "name", ["distgan, 2 ranks", *(n for n, p in PEERS.items() if p.needs)]
)  # fmt: skip
def test_a_peer_computes_what_the_textbook_does(name: str) -> None:
    task = Task("W1", 2)
    if missing := PEERS[name].missing(task.workload):
        pytest.skip(f"{name}: {missing}")
    assert Referee(task).judge(name).same


def test_pairs_with_a_disturbed_turn_are_dropped() -> None:
    found = turns.Turns(
        {"a": [2.0, 9.0, 6.0], "b": [1.0, 1.0, 2.0]}, {"a": [0, 0.5, 0], "b": [0.05, 0, 0]}
    )
    assert found.pairs("a", "b", most=0.1) == [(2.0, 1.0), (6.0, 2.0)]
    assert found.pairs("a", "b", most=0.01) == [(6.0, 2.0)]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="Linux says who uses the processor")
def test_what_a_child_computes_is_ours() -> None:
    before = turns._ours(os.getpid())
    busy = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    child = subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE)
    try:
        wanted = before + 0.4 * os.sysconf("SC_CLK_TCK")
        for _ in range(300):
            if turns._ours(os.getpid()) >= wanted:
                return
            try:
                child.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
    finally:
        child.communicate(b"\n")
    pytest.fail("half a second of a child was not counted")


def test_a_table_of_peers_holds_absent_and_measured_rows() -> None:
    speeds = {"distgan": [10.0, 10.0, 12.0], "textbook": [5.0, 5.0, 6.0]}
    others = {"distgan": [0.0, 0.0, 0.0], "textbook": [0.0, 0.9, 0.0]}
    made = rows({"absent": {"JAX": "not installed"}, "speeds": speeds, "others": others})
    found = {row["name"]: row for row in made}
    assert found["JAX"]["absent"] == "not installed"
    assert found["textbook"]["ratio"] == (0.5, 0.5, 0.5)
    assert found["textbook"]["dropped"] == 1
    assert set(found) == {"JAX", "distgan", "textbook"}


def _record(seed: int, provisional: bool = False) -> dict[str, Any]:
    def side(*points: tuple[float, int, float]) -> dict[str, Any]:
        made = [{"seconds": s, "images": n, "frechet": f} for s, n, f in points]
        reached = next((e for e in made if e["frechet"] <= 20), None)
        card = {"extractor": "x", "extractor_hash": "0" * 16, "real": 5, "fake": 5}
        return {"card": card, "reached": reached, "others": 0.0, "evaluations": made}

    course, names = replace(COURSES["mnist"], target=20.0), ["textbook", "distgan"]
    return {
        "key": key(course, names),
        "provisional": provisional,
        "seed": seed,
        "course": {"features": "mnist", "target": 20.0, "limit": 100.0},
        "machine": {"time": f"2026-01-0{seed}T00:00", "processor": "p", "cores": 2, "threads": 2}
        | {"versions": {"torch": "2"}},
        "sides": {
            "textbook": side((30, 300, 50.0), (60, 600, 19.0)),
            "distgan": side((30, 900, 18.0), (60, 1800, 7.0)),
        },
    }


def test_a_record_tells_how_much_sooner_at_equal_time_and_images() -> None:
    record = _record(1)
    assert records.row(record)[1:7] == ["60", "30", "2.0", "19.0", "7.0", "-"]
    record["sides"]["textbook"]["reached"] = None
    assert records.row(record)[1:4] == ["over 100", "30", "over 3.3"]


def test_races_are_not_repeated_but_provisional_ones_are(tmp_path: Path) -> None:
    course, names = replace(COURSES["mnist"], target=20.0), ["textbook", "distgan"]
    records.write(tmp_path, _record(1))
    records.write(tmp_path, _record(2, provisional=True))
    assert known(tmp_path, course, names, 1, provisional=False)
    assert not known(tmp_path, course, names, 2, provisional=False)
    assert known(tmp_path, course, names, 2, provisional=True)
    assert not known(tmp_path, COURSES["mnist"], names, 1, provisional=False)
    assert "2.0 times sooner" in (tmp_path / "README.md").read_text()


@pytest.mark.slow
def test_a_race_measures_both_at_the_same_seconds() -> None:
    course = Course("mnist", "mnist", target=1e9, every=0.3, limit=0.3, num=100)
    found = race(course, ["textbook", "distgan"], 1, lambda *_: None)
    for side in found.values():
        assert len(side["evaluations"]) == 1
        assert side["reached"]["seconds"] >= 0.3
        assert side["reached"]["images"] > 0
    assert found["textbook"]["card"] == found["distgan"]["card"]
