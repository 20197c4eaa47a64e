"""`benchmarks.scale` and the curve that is made of it."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.curve import WORKERS, draw, measured, published
from benchmarks.scale import Stage
from benchmarks.wire import impossible
from distgan.config.settings import override
from distgan.recipes import recipe


def results(**changes: float) -> dict[str, Any]:
    model = {
        **{"images/s": 900.0, "fixed ms": 5.0, "ms/image": 0.5, "after ms": 2.0},
        **{"deviation %": 1.0, "Mbit/s": 940.0, "latency us": 100.0, "busy %": 10.0},
    }
    ranks = {"images/s": 950.0, "efficiency %": 21.0}
    found = {
        "the model": {"values": {**model, **changes}},
        "ranks": {"values": ranks},
    }
    modes = ("strong", "weak")
    names = [f"mnist-mlp, as it is, 1Gbit, {mode}" for mode in modes]
    return {"comparisons": [{"name": name, "rounds": [found] * 3} for name in names]}


def test_the_curve(tmp_path: Path) -> None:
    strong, weak = measured(results())
    assert strong.dots == {}
    assert weak.dots == {2: 0.21}
    assert weak.points == strong.points
    assert list(weak.points) == list(WORKERS)
    assert weak.points[1] == 1
    values = list(weak.points.values())
    assert values == sorted(values, reverse=True)
    (faster, _) = measured(results(**{"Mbit/s": 9400.0}))
    assert all(faster.points[n] > y for n, y in weak.points.items() if n > 1)
    draw([weak, *published()], "a title", tmp_path / "curve.html")
    assert "ParaGAN" in (tmp_path / "curve.html").read_text()


@pytest.mark.slow
@pytest.mark.drill
def test_ranks_are_about_as_fast_as_the_model_expects(tmp_path: Path) -> None:
    if reason := impossible():
        pytest.skip(reason)
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", "--out", str(tmp_path / "out")]
    subprocess.run([*command, "--recipe", "mnist-mlp", "--link", "100Mbit"], check=True)
    found = json.loads((tmp_path / "out/results.json").read_text())["comparisons"][0]["rounds"]
    ratios = [
        r["ranks"]["values"]["images/s"] / r["the model"]["values"]["images/s"] for r in found
    ]
    # The link decides nearly alone, whatever else the machine does.
    assert 0.8 < statistics.median(ratios) < 1.25


@pytest.mark.drill
def test_turns_find_rates() -> None:
    width = {"generator.network.widths": (16,), "discriminator.network.widths": (16,)}
    stage = Stage(override(recipe("mnist-mlp-tutorial"), width), 2, wired=False)
    try:
        found = stage.model_turn("loopback", 64, 0.2)
        assert found["images/s"] > 0
        assert found["Mbit/s"] > 0
        stage.one_turn(0.2)
        assert stage.ranks_turn("loopback", 64, 0.2)["efficiency %"] > 0
    finally:
        stage.end()
