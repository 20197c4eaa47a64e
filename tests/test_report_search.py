"""The page of a search: what it says of its trials, and that their files are no code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from distgan.recipes import recipe
from distgan.report import searched, write_report
from distgan.storage.storage import Storage
from distgan.tune.folder import write
from distgan.tune.record import Adoption, Measured, Trial
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space

pytest.importorskip("plotly", reason="the extra report is not installed")

LR = "generator.optimizer.lr"


def write_search(folder: Path, trials: list[Trial], **settings: object) -> Path:
    """A search as `distgan tune` leaves it."""
    base, texts = recipe("mnist-mlp-tutorial"), {LR: "loguniform(1e-5, 1e-2)"}
    space = Space(base, {**texts, "loss": "choice(hinge, minimax)"})
    given = TuneSettings(max_images=900, rung=100, **settings)  # type: ignore[arg-type]
    write(Storage(folder), base, space, given)
    for trial in trials:
        trial.save(Storage(folder))
    return folder


def some(number: int, rate: float, value: float, **facts: object) -> Trial:
    history = [Measured(1, 100, 50, value)]
    final = Measured(9, 900, 100, value, value - 1, value + 1)
    point = {LR: rate, "loss": ("hinge", "minimax")[number % 2]}
    trial = Trial(number=number, point=point, seed=0, images=900, history=history, final=final)
    trial.state, trial.changes = "finished", dict(point)
    for name, fact in facts.items():
        setattr(trial, name, fact)
    return trial


def test_what_mattered_is_found(tmp_path: Path) -> None:
    rates = (1e-5, 1e-4, 1e-3, 5e-3, 9e-3)
    trials = [some(n, rate, 10.0 + n) for n, rate in enumerate(rates)]
    content = searched.content(str(write_search(tmp_path / "s", trials)))
    bars, threads = content["plots"]
    found = dict(zip(bars.data["names"], bars.data["values"], strict=True))
    assert found["G lr"] == 1.0
    assert set(found) == {"G lr", "loss=minimax"}
    assert [len(t["heights"]) for t in threads.data["trials"]] == [3] * 5
    assert [row["name"] for row in content["rows"]] == ["0", "1", "2", "3", "4"]
    assert content["best"] == 0


def test_a_schedule_steps_where_a_state_was_taken_over(tmp_path: Path) -> None:
    first, later = {LR: 1e-3, "loss": "hinge"}, {LR: 2e-3, "loss": "hinge"}
    taken = Adoption(0, 300, 3, "x", later)
    trials = [some(0, 1e-4, 5.0), some(1, 2e-3, 6.0, first=first, point=later, adoptions=[taken])]
    folder = write_search(tmp_path / "s", trials, scheduler="pbt")
    chart = next(c for c in searched.content(str(folder))["schedule"] if c.title == "G lr")
    assert (chart.series[1].x, chart.series[1].y) == ([0.0, 300.0, 900.0], [1e-3, 2e-3, 2e-3])


def test_nothing_of_a_trial_is_markup(tmp_path: Path) -> None:
    nasty = "<img src=x onerror=alert(1)>"
    ill = some(1, 1e-3, 7.0, state="ill", why=nasty, final=None)
    text = Path(write_report([str(write_search(tmp_path / "s", [some(0, 1e-4, 5.0), ill]))]))
    page = text.read_text()
    assert nasty not in page
    assert "&lt;img src=x" in page


def test_rank_correlation_is_scipys() -> None:
    numbers = np.random.default_rng(0)
    for _ in range(20):
        one, other = numbers.integers(0, 4, 12).tolist(), numbers.normal(size=12).tolist()
        expected = stats.spearmanr(one, other).statistic
        assert searched.spearman(one, other) == pytest.approx(expected)
