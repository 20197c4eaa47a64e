"""Losses against probabilities written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from distgan.objectives import adversarial as losses

REAL = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
FAKE = torch.tensor([-2.0, 0.25, 1.0], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean_log(values: list[float]) -> float:
    return sum(math.log(v) for v in values) / len(values)


def test_discriminator_maximises_the_minimax_value() -> None:
    value = mean_log([sigmoid(x) for x in REAL.tolist()])
    value += mean_log([1 - sigmoid(x) for x in FAKE.tolist()])
    assert losses.log_discriminator(REAL, FAKE).item() == pytest.approx(-value, rel=1e-12)


def test_minimax_generator_is_the_same_value_seen_from_the_other_side() -> None:
    value = mean_log([1 - sigmoid(x) for x in FAKE.tolist()])
    assert losses.minimax_generator(FAKE).item() == pytest.approx(value, rel=1e-12)


def test_non_saturating_generator() -> None:
    value = -mean_log([sigmoid(x) for x in FAKE.tolist()])
    assert losses.non_saturating_generator(FAKE).item() == pytest.approx(value, rel=1e-12)


def test_where_the_generator_loses_only_one_loss_still_teaches() -> None:
    rejected = torch.tensor([-20.0], dtype=torch.float64, requires_grad=True)
    (saturated,) = torch.autograd.grad(losses.minimax_generator(rejected), rejected)
    (teaching,) = torch.autograd.grad(losses.non_saturating_generator(rejected), rejected)
    assert saturated.item() == pytest.approx(-sigmoid(-20), rel=1e-9)
    assert teaching.item() == pytest.approx(sigmoid(-20) - 1, rel=1e-9)


# By hand: real 1 and -2, fake 0 and 3, so that E[r] = -0.5 and E[f] = 1.5.
BY_HAND: dict[str, tuple[float, float]] = {
    # ((0)^2 + (-3)^2) / 2 / 2 + (0 + 9) / 2 / 2; ((-1)^2 + 2^2) / 2 / 2
    "least-squares": (4.5, 1.25),
    # (0 + 3) / 2 + (1 + 4) / 2; -1.5
    "hinge": (4.0, -1.5),
    # 1.5 - -0.5; -1.5
    "wasserstein": (2.0, -1.5),
    # differences r - f: 1 and -5
    "relativistic": (
        -mean_log([sigmoid(1), sigmoid(-5)]),
        -mean_log([sigmoid(-1), sigmoid(5)]),
    ),
    # r - E[f]: -0.5 and -3.5; f - E[r]: 0.5 and 3.5
    "relativistic-average": (
        -mean_log([sigmoid(-0.5), sigmoid(-3.5)]) - mean_log([sigmoid(-0.5), sigmoid(-3.5)]),
        -mean_log([sigmoid(0.5), sigmoid(3.5)]) - mean_log([sigmoid(0.5), sigmoid(3.5)]),
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_against_closed_forms(name: str) -> None:
    real = torch.tensor([1.0, -2.0], dtype=torch.float64)
    fake = torch.tensor([0.0, 3.0], dtype=torch.float64)
    loss = losses.LOSSES[name]
    discriminator, generator = BY_HAND[name]
    assert loss.discriminator(real, fake).item() == pytest.approx(discriminator, rel=1e-12)
    arguments = (fake, real) if loss.relative else (fake,)
    assert loss.generator(*arguments).item() == pytest.approx(generator, rel=1e-12)


@pytest.mark.parametrize("name", losses.LOSSES)
def test_stays_finite_for_extreme_logits(name: str) -> None:
    extreme, other = torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4])
    loss = losses.LOSSES[name]
    assert torch.isfinite(loss.discriminator(extreme, other))
    assert torch.isfinite(loss.generator(*((extreme, other) if loss.relative else (extreme,))))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_against_finite_differences(name: str) -> None:
    loss = losses.LOSSES[name]
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake, real) if loss.relative else (fake,))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_only_a_loss_that_couples_is_more_than_a_mean_over_pairs(name: str) -> None:
    loss = losses.LOSSES[name]
    parts = [loss.discriminator(REAL[i : i + 1], FAKE[i : i + 1]) for i in range(3)]
    independent = torch.allclose(torch.stack(parts).mean(), loss.discriminator(REAL, FAKE))
    assert independent != loss.couples
