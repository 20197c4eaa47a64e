"""Means of a run's steps, with names that come and go."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distgan.parallel import World
from distgan.training.statistics import Statistics

NAMES = ("d_loss", "g_loss", "d_penalty")


def steps(count: int) -> list[dict[str, float]]:
    """What 16 steps of a run find: G every second time, a penalty every third."""
    numbers = np.random.default_rng(0).normal(size=(count, 3))
    always, turns, due = (lambda n: True), (lambda n: n % 2 == 1), (lambda n: n % 3 == 0)
    return [
        {
            name: float(value)
            for name, value, when in zip(NAMES, row, (always, turns, due), strict=True)
            if when(n)
        }
        for n, row in enumerate(numbers)
    ]


def add(statistics: Statistics, found: list[dict[str, float]]) -> None:
    for values in found:
        statistics.add({n: torch.tensor(v, dtype=torch.float64) for n, v in values.items()})


def expected(found: list[dict[str, float]]) -> dict[str, float]:
    columns = {name: [s[name] for s in found if name in s] for name in NAMES}
    return {name: float(np.mean(values)) for name, values in columns.items() if values}


def test_each_is_the_mean_of_what_was_seen_of_it() -> None:
    statistics = Statistics(NAMES, torch.device("cpu"))
    for found in (steps(16), steps(1), steps(7)[4:5]):
        add(statistics, found)
        assert statistics.means(World()) == pytest.approx(expected(found), abs=1e-12)


def test_a_stopped_run_goes_on_with_them() -> None:
    found = steps(16)
    before, after = (Statistics(NAMES, torch.device("cpu")) for _ in range(2))
    add(before, found[:5])
    after.load_state_dict([before.state_dict()], World())
    add(after, found[5:])
    assert after.means(World()) == pytest.approx(expected(found), abs=1e-12)


def test_on_fewer_ranks_they_are_those_of_all() -> None:
    ranks = [Statistics(NAMES, torch.device("cpu")) for _ in range(2)]
    one, other = steps(16)[:8], [{n: -v for n, v in s.items()} for s in steps(16)[:8]]
    for statistics, found in zip(ranks, (one, other), strict=True):
        add(statistics, found)
    alone = Statistics(NAMES, torch.device("cpu"))
    alone.load_state_dict([rank.state_dict() for rank in ranks], World())
    assert alone.means(World()) == pytest.approx(dict.fromkeys(NAMES, 0.0), abs=1e-12)
