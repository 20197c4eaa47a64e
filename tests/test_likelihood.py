"""Bounds of the log-likelihood against a linear-Gaussian model, whose own is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from distgan.metrics.likelihood import (
    LogMeanExp,
    active_units,
    bits_per_dimension,
    importance_weighted_bound,
    log_weights,
)
from distgan.metrics.moments import Moments
from distgan.networks.random import normal_draws
from distgan.objectives import variational


class Linear(NamedTuple):
    """x = W z + b + sigma e (Tipping and Bishop, "Probabilistic Principal Component Analysis",
    1999), with orthogonal columns of W, so that the posterior of z is a diagonal Gaussian."""

    weight: Tensor
    bias: Tensor
    log_scale: float

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        noise = math.exp(2 * self.log_scale)
        precision = self.weight.square().sum(0) / noise + 1
        mean = (x - self.bias) @ self.weight / noise / precision
        return mean, -precision.log().expand_as(mean)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        means = z @ self.weight.T + self.bias
        images = x[:, None].expand_as(means)
        found = variational.gaussian(images.flatten(0, 1), means.flatten(0, 1), self.log_scale)
        return found.view(z.shape[:2])

    def exact(self, x: Tensor) -> Tensor:
        noise = math.exp(2 * self.log_scale) * torch.eye(len(self.bias)).double()
        return MultivariateNormal(self.bias, self.weight @ self.weight.T + noise).log_prob(x)


@pytest.fixture(scope="module")
def model() -> Linear:
    draw = torch.Generator().manual_seed(0)
    weight, _ = torch.linalg.qr(torch.randn(10, 3, generator=draw, dtype=torch.float64))
    weight = weight * torch.tensor([2.0, 1.0, 0.5]).double()
    return Linear(weight, torch.randn(10, generator=draw, dtype=torch.float64), -0.5)


@pytest.fixture(scope="module")
def images(model: Linear) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(40, 3, generator=draw, dtype=torch.float64)
    e = torch.randn(40, 10, generator=draw, dtype=torch.float64)
    return z @ model.weight.T + model.bias + math.exp(-0.5) * e


def bound(
    model: Linear,
    x: Tensor,
    samples: int,
    *,
    widen: float = 0.0,
    shift: float = 0.0,
    at_once: int = 100,
    first: int = 0,
    stream: str = "bound",
) -> Tensor:
    mean, log_variance = model.posterior(x)
    numbers = torch.arange(first, first + len(x))
    return importance_weighted_bound(
        mean + shift,
        log_variance + widen,
        lambda z: model.log_likelihood(x, z),
        lambda draws: normal_draws(0, stream, numbers, draws, 3),
        samples,
        at_once,
    )


def test_with_the_exact_posterior_every_weight_is_the_likelihood(
    model: Linear, images: Tensor
) -> None:
    for samples in (1, 7):
        torch.testing.assert_close(
            bound(model, images, samples), model.exact(images), rtol=1e-10, atol=1e-10
        )


def test_it_rises_with_the_samples_and_reaches_the_likelihood(
    model: Linear, images: Tensor
) -> None:
    exact = model.exact(images).mean()
    off = {"widen": 0.5, "shift": 0.3, "at_once": 1000}

    def gap(samples: int, repeats: int) -> float:
        parts = [bound(model, images, samples, stream=f"{i}", **off) for i in range(repeats)]  # type: ignore[arg-type]
        return (exact - torch.stack(parts).mean()).item()

    gaps = [gap(1, 50), gap(4, 50), gap(16, 50)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 5 * gaps[2] > 0
    assert abs(gap(2000, 1)) < 0.01


def test_one_sample_is_the_elbo(model: Linear, images: Tensor) -> None:
    mean, log_variance = model.posterior(images)
    mean, log_variance = mean + 0.3, log_variance + 0.5
    noise = math.exp(2 * model.log_scale)
    # E_q of the Gaussian's log-likelihood in closed form.
    at_mean = model.log_likelihood(images, mean[:, None])[:, 0]
    spread = (log_variance.exp() * model.weight.square().sum(0)).sum(1) / (2 * noise)
    elbo = at_mean - spread - variational.divergence(mean, log_variance)
    found = torch.stack(
        [bound(model, images, 1, widen=0.5, shift=0.3, stream=f"{i}") for i in range(400)]
    )
    error = found.std(0) / 20
    assert ((found.mean(0) - elbo).abs() < 5 * error).all()


def test_neither_chunks_nor_ranks_matter(model: Linear, images: Tensor) -> None:
    off = {"widen": 1.0, "shift": 0.5}
    whole = bound(model, images, 300, **off)  # type: ignore[arg-type]
    for at_once in (1, 77, 1000):
        again = bound(model, images, 300, at_once=at_once, **off)  # type: ignore[arg-type]
        torch.testing.assert_close(again, whole, rtol=1e-12, atol=1e-12)
    part = bound(model, images[25:], 300, first=25, **off)  # type: ignore[arg-type]
    torch.testing.assert_close(part, whole[25:], rtol=1e-12, atol=1e-12)


def test_no_samples_are_refused(model: Linear, images: Tensor) -> None:
    for samples, at_once in [(0, 1), (1, 0)]:
        with pytest.raises(ValueError, match="at least one"):
            bound(model, images, samples, at_once=at_once)


def test_log_weights_are_those_of_densities() -> None:
    draw = torch.Generator().manual_seed(2)
    mean, log_variance = torch.randn(2, 5, 4, generator=draw).double()
    noise = torch.randn(5, 6, 4, generator=draw).double()
    likelihood = torch.randn(5, 6, generator=draw).double()
    q = Normal(mean[:, None], (log_variance / 2).exp()[:, None])
    z = q.loc + q.scale * noise
    right = likelihood + (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(2)
    torch.testing.assert_close(log_weights(likelihood, noise, mean, log_variance), right)


def test_log_mean_exp_of_any_parts() -> None:
    draw = torch.Generator().manual_seed(3)
    numbers = 300 * torch.randn(6, 50, generator=draw)
    numbers[0] -= 90_000
    numbers[1] = -math.inf
    numbers[2, 10:] = -math.inf
    right = numbers.double().logsumexp(1) - math.log(50)
    for size in (1, 7, 50):
        total = LogMeanExp()
        for part in numbers.split(size, 1):
            total.add(part)
        torch.testing.assert_close(total.value, right, rtol=1e-13, atol=1e-13)
    # In order of size, so that each part moves the largest.
    total = LogMeanExp()
    for part in numbers.sort(1)[0].split(7, 1):
        total.add(part)
        total.add(part[:, :0])
    torch.testing.assert_close(total.value, right, rtol=1e-13, atol=1e-13)
    with pytest.raises(RuntimeError, match="no numbers"):
        _ = LogMeanExp().value


def test_bits_of_known_densities() -> None:
    # 256 levels of equal probability are 8 bits, as probabilities and as a density.
    nats = torch.tensor([-12 * math.log(256)], dtype=torch.float64)
    assert bits_per_dimension(nats, 12).item() == pytest.approx(8)
    # Levels 2 / 255 apart make bins that cover 256 / 255 of [-1, 1].
    density = torch.tensor([-12 * math.log(2 * 256 / 255)], dtype=torch.float64)
    assert bits_per_dimension(density, 12, 2 / 255).item() == pytest.approx(8)


def test_active_units(model: Linear) -> None:
    draw = torch.Generator().manual_seed(4)
    scales = torch.tensor([1.0, 0.2, 0.05, 0.0])
    means = 7 + scales * torch.randn(2000, 4, generator=draw)
    parts = [Moments(4), Moments(4)]
    parts[0].add(means[:700])
    parts[1].add(means[700:])
    moments = Moments.merged(parts)
    assert active_units(moments) == 2
    assert active_units(moments, 0.5) == 1
    assert active_units(moments, 1e-4) == 3
