"""Runs end in the weights that they ended in before; see `goldens`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from . import goldens

KNOWN = json.loads(goldens.FILE.read_text()).get(goldens.machine())
QUICK = ["mlp", "dcgan, float64", "sngan, accumulate"]

pytestmark = pytest.mark.skipif(
    KNOWN is None,
    reason=f"no goldens of this machine ({goldens.machine()}); python -m tests.goldens makes them",
)


@pytest.mark.parametrize("case", QUICK)
def test_the_same_weights(tmp_path: Path, case: str) -> None:
    assert goldens.run(case, tmp_path / "run") == KNOWN[case]


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in goldens.cases() if case not in QUICK])
def test_the_same_weights_of_all(tmp_path: Path, case: str) -> None:
    assert goldens.run(case, tmp_path / "run") == KNOWN[case]


@pytest.mark.parametrize("case", ["mlp"])
def test_the_same_weights_after_a_stop(tmp_path: Path, case: str) -> None:
    assert goldens.run(case, tmp_path / "run", stop=True) == KNOWN[case]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.drill), 2])
def test_the_same_weights_on_ray(tmp_path: Path, workers: int) -> None:
    # One worker computes what no Ray does; with two, sums are in another order.
    folder = tmp_path / "run"
    case = "mlp" if workers == 1 else "mlp, 2 workers"
    assert goldens.run("mlp", folder, workers=workers) == KNOWN[case]
