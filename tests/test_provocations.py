"""Real runs of the tutorial's GAN, spoilt on purpose: each illness gets its name, and health
none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgan import draws
from distgan.config.settings import override
from distgan.families.data import GENERATORS
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs import records
from distgan.storage.storage import Storage

from .test_health import run_here

pytestmark = pytest.mark.alone

LIMIT, RECORDS_EVERY = 30_000, 5_000
"""Images within which a state has to be named, and between records, of which a run writes half
as many by itself."""


def states(folder: Path, changes: dict[str, Any], name: str = "mnist-mlp-tutorial") -> list[str]:
    """The states of a run's records."""
    config = override(recipe(name), {"images": LIMIT, "output.log_every": RECORDS_EVERY, **changes})
    run_here(World(), config, folder / "run")
    return [record["health"] for record in records.read(Storage(folder / "run"))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ("exploding", {"generator.optimizer.lr": 10, "discriminator.optimizer.lr": 10}),
        pytest.param(
            "discriminator wins",
            # Of which the generator has to have had its turn in every record.
            {"discriminator.updates": 50, "output.log_every": 10_000, "images": 60_000},
            marks=pytest.mark.drill,
        ),
        pytest.param(
            "discriminator wins",
            {"loss": "minimax", "discriminator.updates": 20, "images": 60_000},
            marks=pytest.mark.drill,
        ),
        pytest.param(
            "generator wins", {"discriminator.optimizer.lr": 1e-7}, marks=pytest.mark.drill
        ),
        pytest.param("stalled", {"generator.optimizer.lr": 1e-11}, marks=pytest.mark.drill),
    ],
    ids=["rate of 10", "50 D updates", "saturated minimax", "idle D", "idle G"],
)
def test_an_illness_is_named(tmp_path: Path, state: str, changes: dict[str, Any]) -> None:
    found = states(tmp_path, changes)
    # Never another state before it, and it once it has lasted.
    assert set(found) == {"healthy", state}
    assert found[-1] == state


@pytest.mark.slow
def test_identical_latents_are_a_collapse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = draws.normals

    def same(seed: int, stream: str, parts: Sequence[range], size: int) -> Any:
        return np.repeat(whole(seed, stream, [range(1)], size), sum(map(len, parts)), axis=0)

    monkeypatch.setitem(GENERATORS, "normal", same)
    found = states(tmp_path, {})
    assert set(found) == {"healthy", "collapsed"}
    assert found[-1] == "collapsed"


@pytest.mark.slow
def test_a_divergence_that_weighs_a_hundred_times_is_a_posterior_collapse(tmp_path: Path) -> None:
    found = states(tmp_path, {"beta": 100, "output.log_every": 2_500}, "mnist-vae")
    assert set(found) == {"healthy", "posterior collapse"}
    assert found[-1] == "posterior collapse"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("mnist-mlp-tutorial", LIMIT),
        pytest.param("mnist-mlp-conditional", LIMIT, marks=pytest.mark.drill),
        pytest.param("mnist-dcgan", 16_000, marks=pytest.mark.drill),
        ("mnist-vae", LIMIT),
        pytest.param("mnist-vae-conv", 16_000, marks=pytest.mark.drill),
    ],
)
def test_health_raises_no_alarm(tmp_path: Path, name: str, images: int) -> None:
    assert set(states(tmp_path, {"images": images}, name)) == {"healthy"}
