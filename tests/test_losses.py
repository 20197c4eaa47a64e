"""Losses against probabilities written out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from distgan import losses

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


@pytest.mark.parametrize("name", losses.LOSSES)
def test_stays_finite_for_extreme_logits(name: str) -> None:
    extreme = torch.tensor([-1e4, 1e4])
    loss = losses.LOSSES[name]
    assert torch.isfinite(loss.discriminator(extreme, extreme))
    assert torch.isfinite(loss.generator(extreme))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_against_finite_differences(name: str) -> None:
    loss = losses.LOSSES[name]
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
