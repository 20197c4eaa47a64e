"""The moving average against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distgan.config.optimizer import EMASettings
from distgan.training.ema import EMA


def test_a_past_weight_counts_half_after_one_half_life() -> None:
    network = nn.Linear(1, 1).double()
    ema = EMA(network, EMASettings(half_life=1_000, ramp_up=0.0))
    nn.init.zeros_(network.weight)
    ema.average.weight.fill_(1.0)
    for step in range(10):
        ema.update(images_seen=100 * step, batch=100)
    assert ema.average.weight.item() == pytest.approx(0.5, rel=1e-12)


def test_batch_size_changes_nothing_over_the_same_images() -> None:
    for batch in (10, 50, 500):
        network = nn.Linear(1, 1).double()
        ema = EMA(network, EMASettings(half_life=300, ramp_up=0.0))
        nn.init.zeros_(network.weight)
        ema.average.weight.fill_(1.0)
        for step in range(1_000 // batch):
            ema.update(batch * step, batch)
        assert ema.average.weight.item() == pytest.approx(0.5 ** (1_000 / 300), rel=1e-12)


def test_ramp_up_limits_the_half_life_to_a_share_of_the_images_seen() -> None:
    ema = EMA(nn.Linear(1, 1), EMASettings(half_life=1_000, ramp_up=0.1))
    assert ema.weight(images_seen=0, batch=10) == 0
    assert ema.weight(images_seen=2_000, batch=10) == pytest.approx(0.5 ** (10 / 200))
    assert ema.weight(images_seen=50_000, batch=10) == pytest.approx(0.5 ** (10 / 1_000))


def test_zero_half_life_copies() -> None:
    network = nn.Linear(3, 3)
    ema = EMA(network, EMASettings(half_life=0))
    nn.init.ones_(network.weight)
    ema.update(1_000, 10)
    assert torch.equal(ema.average.weight, network.weight)


def test_buffers_are_copied_and_the_average_is_its_own() -> None:
    network = nn.BatchNorm1d(2)
    ema = EMA(network, EMASettings())
    network(torch.randn(8, 2))
    assert not torch.equal(ema.average.running_mean, network.running_mean)
    ema.update(0, 8)
    assert torch.equal(ema.average.running_mean, network.running_mean)
    assert not ema.average.training
    assert not any(p.requires_grad for p in ema.average.parameters())
