"""Signs of translations in closed form, rules on provoked cases, and runs that are well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.images import open_images
from distgan.data.spec import data_spec
from distgan.families import Batch
from distgan.health import translation
from distgan.health.diagnosis import HEALTHY, collapse, suspect
from distgan.launch.start import train
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs import records
from distgan.storage.storage import Storage
from distgan.training.health_monitor import Monitor
from distgan.training.state import TrainingState

from . import ranks

WELL = {"input_change": 0.6, "correlation": 0.8, "checkerboard": 1.0, "diversity": 1.0}
WELL |= {"class_entropy": 0.0}
RULES = translation.rules((collapse,))

ILL: dict[str, tuple[str, dict[str, float], str]] = {
    "identity": ("does nothing", {"input_change": 0.01}, "--identity"),
    "inverted": ("colours inverted", {"correlation": -0.8}, "--seed"),
    "pattern": ("checkerboard", {"checkerboard": 40.0}, "--generator.network.antialias true"),
    "alike": ("collapsed", {"diversity": 0.01}, "check that the inputs differ"),
}


@pytest.mark.parametrize("name", ILL)
def test_each_illness_has_its_name_and_remedy(name: str) -> None:
    state, changes, remedy = ILL[name]
    found = suspect([WELL] * 5, {**WELL, **changes}, RULES)
    assert (found.state, remedy in found.remedy) == (state, True)
    assert suspect([WELL] * 5, WELL, RULES).state == HEALTHY


def test_networks_that_have_just_started_are_not_judged() -> None:
    new = {**WELL, "input_change": 0.0, "correlation": -0.9, "checkerboard": 100.0}
    for records_before in range(5):
        assert suspect([new] * records_before, new, RULES).state == HEALTHY
    assert suspect([new] * 5, new, RULES).state == "does nothing"


def test_what_gets_better_is_left_alone() -> None:
    """As measured of a run that learns, whose outputs are gray and checkered at first."""
    shares = (509.7, 330.7, 130.2, 49.4, 22.7, 14.2, 10.0, 7.5)
    apart = (0.006, 0.009, 0.011, 0.017, 0.021, 0.03, 0.06, 0.17)
    learning = [
        {**WELL, "checkerboard": share, "diversity": diversity}
        for share, diversity in zip(shares, apart, strict=True)
    ]
    for number, now in enumerate(learning):
        assert suspect(learning[:number], now, RULES).state == HEALTHY
    for number in (3, 5):
        stuck = {**WELL, "checkerboard": shares[number]}
        assert suspect([stuck] * 5, stuck, RULES).state == "checkerboard"
        stuck = {**WELL, "diversity": apart[number]}
        assert suspect([stuck] * 5, stuck, RULES).state == "collapsed"


def pictures(count: int = 8, side: int = 16, seed: int = 0) -> torch.Tensor:
    """Smooth ones: float64 (n, 1, side, side) in [-1, 1]."""
    draw = np.random.default_rng(seed)
    small = draw.uniform(-0.8, 0.8, (count, 1, side // 4, side // 4))
    return torch.from_numpy(np.kron(small, np.ones((1, 1, 4, 4))))


def test_the_share_of_a_pattern_is_that_of_its_energy() -> None:
    """Of a wave of energy 1/2 a pixel, and one from pixel to pixel of energy a^2."""
    across = torch.arange(16, dtype=torch.float64)
    wave = torch.sin(2 * torch.pi * across / 16).expand(1, 1, 16, 16)
    for amplitude in (0.0, 0.1, 0.3):
        for pattern in ((-1) ** across, ((-1) ** across)[:, None]):
            made = 0.2 + wave + amplitude * pattern
            expected = amplitude**2 / (0.5 + amplitude**2)
            found = translation.alternating_share(made).item()
            assert found == pytest.approx(expected, abs=1e-12)
    both = wave + 0.3 * (-1) ** (across + across[:, None])
    assert translation.alternating_share(both).item() == pytest.approx(0.09 / 0.59)
    # Of an odd side the last column is left out.
    odd = torch.cat([both, torch.full((1, 1, 16, 1), 9.0)], 3)
    assert translation.alternating_share(odd).item() == pytest.approx(0.09 / 0.59)
    assert translation.alternating_share(torch.ones(2, 3, 8, 8)).item() == 0


def test_correlation_is_numpys() -> None:
    one, other = pictures(), pictures(seed=1) + 0.3 * pictures()
    found = translation.correlation(one, other).item()
    each = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other, strict=True)]
    assert found == pytest.approx(np.mean(each))
    assert translation.correlation(one, torch.ones_like(one)).item() == 0


def signs(made: torch.Tensor, inputs: torch.Tensor, reals: torch.Tensor, known: bool) -> Any:
    found = translation.image_signs(made, inputs, reals, known)
    return {**WELL, **{name: value.item() for name, value in found.items()}}


def state_of(*images: torch.Tensor, known: bool) -> str:
    now = signs(*images, known=known)
    return suspect([now] * 5, now, RULES).state


def test_outputs_that_are_made_ill_are_found_out() -> None:
    inputs, targets = pictures(), pictures(seed=1)
    draw = torch.Generator().manual_seed(0)
    noise = 0.05 * torch.randn(inputs.shape, generator=draw, dtype=torch.float64)
    pattern = 0.2 * (-1.0) ** torch.arange(16, dtype=torch.float64)
    for known in (True, False):
        assert state_of(targets + noise, inputs, targets, known=known) == HEALTHY
        assert state_of(inputs + 0.1 * noise, inputs, targets, known=known) == "does nothing"
        assert state_of(targets + pattern, inputs, targets, known=known) == "checkerboard"
    assert state_of(-targets + noise, inputs, targets, known=True) == "colours inverted"
    assert state_of(-inputs + noise, inputs, targets, known=False) == "colours inverted"


def test_to_invert_is_right_where_the_other_side_is_inverted() -> None:
    dark = pictures() * 0.3 - 0.6
    others = pictures(seed=1) * 0.3 + 0.6
    assert state_of(-dark, dark, others, known=False) == HEALTHY
    # The sign is the correlation with what is expected then.
    assert signs(-dark, dark, others, False)["correlation"] == pytest.approx(1)


def test_to_do_nothing_is_right_where_both_sides_are_the_same() -> None:
    images = pictures()
    assert state_of(images, images, images, known=True) == HEALTHY


SMALL = {
    "data": "mnist",
    "task": "edges",
    "images": 1600,
    "batch": 16,
    "generator.network.width": 8,
    "generator.network.levels": 2,
    "discriminator.network.width": 8,
    "discriminator.network.layers": 1,
    "output.log_every": 160,
    "output.sample_every": 1600,
}


def run(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    base = recipe("cifar10-colorize")
    train(override(base, {**SMALL, **changes}), out=str(folder), workers=0)
    return [each for each in records.read(Storage(str(folder))) if "interim" not in each]


@pytest.mark.slow
def test_a_run_that_learns_is_healthy_and_its_signs_are_recorded(tmp_path: Path) -> None:
    found = run(tmp_path / "run", **{"generator.optimizer.lr": 2e-3})
    assert {each["health"] for each in found} == {HEALTHY}
    assert found[-1]["correlation"] > 0.3 > translation.INVERTED
    assert all({"input_change", "checkerboard", "diversity"} <= set(each) for each in found)


class _NoDraws:
    """A feed of which nothing but the draws is asked, and there are none."""

    def numbers(self, images_seen: int) -> dict[str, torch.Tensor]:
        return {}


MADE: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    HEALTHY: lambda inputs, targets: 0.9 * targets,
    "does nothing": lambda inputs, targets: inputs,
    "colours inverted": lambda inputs, targets: -targets,
    "checkerboard": lambda inputs, targets: (
        targets + 0.3 * (-1.0) ** torch.arange(28, dtype=targets.dtype)
    ),
    "collapsed": lambda inputs, targets: targets[:1].expand_as(targets),
}
"""By what is to be named: outputs of inputs and targets."""


def watched(world: World, state: str) -> list[dict[str, Any]]:
    """Records of the monitor of a run whose outputs are given."""
    config = override(recipe("cifar10-colorize"), {**SMALL, "batch": 6, "precision": "float64"})
    images = open_images("mnist")
    run = TrainingState(config, data_spec(images), world)
    run.step([batch_of(run, config)])
    family = run.family

    def generate(networks: Any, batch: Any) -> torch.Tensor:
        return MADE[state](*family.example(batch))  # type: ignore[attr-defined]

    family.generate = generate  # type: ignore[method-assign]
    monitor = Monitor(config, run, _NoDraws(), images)  # type: ignore[arg-type]
    means = dict.fromkeys(family.statistics, 0.5)
    unused = Batch({"image": torch.zeros(1, 1, 28, 28)}, {})
    return [monitor.examine(run, dict(means), unused)[0] for _ in range(12)]


def batch_of(run: TrainingState, config: RunConfig) -> Batch:
    share = run.world.share(config.micro_batch)
    count = share.stop - share.start
    images = torch.linspace(-1, 1, count * 784, dtype=config.dtype).view(count, 1, 28, 28)
    return Batch({"image": images}, {}, run.world.weight(config.micro_batch), torch.arange(count))


@pytest.mark.parametrize("state", MADE)
def test_the_monitor_names_what_is_wrong_with_outputs(state: str) -> None:
    found = watched(World(), state)
    assert found[-1]["health"] == state
    assert "input_change" in found[-1]


def signs_on_a_rank(world: World) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return [
        {
            name: record[name]
            for name in ("input_change", "correlation", "checkerboard", "diversity")
        }
        for record in watched(world, "checkerboard")
    ]


@pytest.mark.slow
def test_signs_are_the_same_on_all_ranks_and_on_any_number_of_them(tmp_path: Path) -> None:
    alone = signs_on_a_rank(World())
    for size in (2, 3):
        for found in ranks.on_ranks(size, signs_on_a_rank, tmp_path):
            for one, other in zip(found, alone, strict=True):
                assert one == pytest.approx(other, rel=1e-12)
