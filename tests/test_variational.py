"""Terms of the ELBO against torch.distributions, integrals, sums and finite differences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from distgan.config.schedule import Schedule
from distgan.objectives import variational as v

SHAPE = (3, 2, 2, 3)
D = 12


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(found: Tensor, right: Tensor, relative: float = 1e-12) -> None:
    torch.testing.assert_close(found, right, rtol=relative, atol=relative)


def test_bernoulli_is_that_of_torch_and_sums_to_one() -> None:
    logits = 3 * draw(*SHAPE)
    binary = (draw(*SHAPE, seed=1) > 0).double()
    right = Independent(Bernoulli(logits=logits), 3).log_prob(binary)
    close(v.bernoulli(binary, logits), right)
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    close(
        v.bernoulli(every, logits.flatten()[:6].expand(64, 6)).exp().sum(),
        torch.tensor(1.0).double(),
    )
    # Saturated logits lose nothing.
    extreme = torch.tensor([[-1e4], [1e4]])
    assert v.bernoulli(torch.tensor([[1.0], [1.0]]), extreme).tolist() == [-1e4, 0.0]


@pytest.mark.parametrize("log_scale", [0.0, -2.0, torch.tensor(0.7), draw(2, 1, 1, seed=3)])
def test_gaussian_is_that_of_torch(log_scale: Tensor | float) -> None:
    x, mean = draw(*SHAPE), draw(*SHAPE, seed=1)
    scale = torch.as_tensor(log_scale, dtype=torch.float64).exp().expand(SHAPE)
    close(v.gaussian(x, mean, log_scale), Independent(Normal(mean, scale), 3).log_prob(x))


def test_gaussian_integrates_to_one() -> None:
    grid = np.linspace(-12, 12, 20_001)
    density = v.gaussian(torch.tensor(grid)[:, None], torch.full((20_001, 1), 0.3), -0.4).exp()
    assert abs(np.trapezoid(density.numpy(), grid) - 1) < 1e-9


def test_optimal_gaussian_is_the_best_of_all_scales() -> None:
    x, mean = draw(*SHAPE), draw(*SHAPE, seed=1)
    errors = v.squared_error(x, mean)
    best = v.optimal_gaussian(errors, D).mean()
    variance = (x - mean).square().mean()
    close(best, -D / 2 * ((2 * math.pi * variance).log() + 1))
    close(v.optimal_gaussian(errors, D), v.gaussian(x, mean, variance.log() / 2))
    for shift in (-0.1, -1e-3, 1e-3, 0.1):
        assert v.gaussian(x, mean, variance.log() / 2 + shift).mean() < best


def test_the_gradient_of_the_optimal_scale_vanishes() -> None:
    x, mean = draw(*SHAPE), draw(*SHAPE, seed=1).requires_grad_()
    (found,) = torch.autograd.grad(v.optimal_gaussian(v.squared_error(x, mean), D).mean(), mean)
    variance = (x - mean.detach()).square().mean()
    close(found, (x - mean.detach()) / variance / len(x))


def test_optimal_gaussian_of_perfect_images_is_finite() -> None:
    mean = draw(*SHAPE).requires_grad_()
    found = v.optimal_gaussian(v.squared_error(mean.detach(), mean), D)
    found.sum().backward()
    close(found, torch.full((3,), D * (6 - math.log(2 * math.pi) / 2), dtype=torch.float64))
    assert mean.grad is not None
    assert not mean.grad.any()


def test_floored() -> None:
    x = torch.tensor([-100.0, -6.0, 0.0, 50.0], dtype=torch.float64, requires_grad=True)
    found = v.floored(x)
    close(found, torch.tensor([-6, -6 + math.log(2), math.log1p(math.exp(-6)), 50]).double(), 1e-6)
    found[1:].sum().backward()
    assert x.grad is not None
    assert (x.grad[1:] > 0).all()


LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


def of_levels(mean: float, log_scale: float, dtype: torch.dtype = torch.float64) -> Tensor:
    means = torch.full((256, 1, 1, 1), mean, dtype=dtype)
    scale = torch.tensor(log_scale, dtype=dtype)
    return v.discretised_logistic(LEVELS.to(dtype).view(256, 1, 1, 1), means, scale)


@pytest.mark.parametrize("mean", [-3.0, -1.0, -0.123, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 2.0])
def test_discretised_logistic_is_a_distribution(mean: float, log_scale: float) -> None:
    found = of_levels(mean, log_scale)
    assert abs(found.exp().sum().item() - 1) < 1e-12
    # Differences of the distribution function, where float64 has digits for them.
    scale = math.exp(log_scale)
    edges = torch.cat(
        [torch.tensor([-math.inf]), (LEVELS[1:] + LEVELS[:-1]) / 2, torch.tensor([math.inf])]
    )
    right = torch.sigmoid((edges[1:] - mean) / scale) - torch.sigmoid((edges[:-1] - mean) / scale)
    seen = right > 1e-6
    close(found.exp()[seen], right[seen], 1e-9)
    # And in float32 to its precision, far tails included.
    single = of_levels(mean, log_scale, torch.float32).double()
    assert ((single - found).abs() <= 2e-4 * found.abs() + 2e-4).all()


def test_discretised_logistic_is_exact_in_its_tails() -> None:
    """Against Python's decimals, at 2,200 scales from the mean."""
    getcontext().prec = 1300

    def cumulative(x: float) -> Decimal:
        return 1 / (1 + (-Decimal(x)).exp())

    scale = math.exp(-7.0)
    found = of_levels(-1.0, -7.0)
    for level in (3, 100, 254):
        ends = [(float(LEVELS[level]) + 1 + side / 255) / scale for side in (-1, 1)]
        right = (cumulative(ends[1]) - cumulative(ends[0])).ln()
        assert abs(found[level].item() / float(right) - 1) < 1e-9


X = draw(*SHAPE)
PIXELS = (X * 60 + 128).round().clamp(0, 255) / 127.5 - 1


@pytest.mark.parametrize(
    "of",
    [
        lambda a, b: v.bernoulli(X.sigmoid(), a),
        lambda a, b: v.gaussian(X, a, -1.0),
        lambda a, b: v.gaussian(X, a, v.floored(b[0, :, :1, :1])),
        lambda a, b: v.optimal_gaussian(v.squared_error(X, a), D),
        lambda a, b: v.discretised_logistic(PIXELS, a, b[0, :, :1, :1]),
        lambda a, b: v.divergence(a.flatten(1), b.flatten(1)),
    ],
)
def test_gradients_are_those_of_finite_differences(of: Callable[..., Tensor]) -> None:
    a, b = draw(*SHAPE, seed=1).requires_grad_(), draw(*SHAPE, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(of, (a, b))


def test_divergence_is_that_of_torch_and_of_many_draws() -> None:
    mean, log_variance = draw(6, 4), draw(6, 4, seed=1)
    q, p = Normal(mean, (log_variance / 2).exp()), Normal(torch.zeros(6, 4).double(), 1.0)
    close(v.divergence_by_dimension(mean, log_variance), kl_divergence(q, p))
    close(v.divergence(mean, log_variance), kl_divergence(q, p).sum(1))
    z = mean + (log_variance / 2).exp() * draw(100_000, 6, 4, seed=2)
    found = (q.log_prob(z) - p.log_prob(z)).sum(2)
    error = found.std(0) / 100_000**0.5
    assert ((found.mean(0) - v.divergence(mean, log_variance)).abs() < 5 * error).all()


def test_divergence_keeps_its_digits_near_zero() -> None:
    small = torch.tensor([[1e-4]])
    found = v.divergence(torch.zeros(1, 1), small).item()
    assert abs(found / (1e-8 / 4) - 1) < 1e-2
    assert v.divergence(torch.zeros(1, 1), torch.zeros(1, 1)).item() == 0


def test_free_bits() -> None:
    kl = torch.tensor([[0.1, 3.0], [0.5, 1.0]], requires_grad=True)
    close(v.free_bits(kl, 0.4), torch.tensor([3.4, 1.5]), 1e-6)
    # Means 0.3 and 2.0: the first is free.
    whole = v.free_bits_of_batch(kl, 0.4)
    close(whole, torch.tensor(2.4), 1e-6)
    whole.backward()
    assert kl.grad is not None
    close(kl.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]), 1e-6)
    assert v.free_bits(kl, 0.4).mean() >= whole
    close(v.free_bits(kl, 0.0), kl.sum(1), 1e-6)


def test_beta_warms_up_with_the_images_seen() -> None:
    schedule = Schedule.parse("0:2:1000:linear")
    likelihood, kl = torch.tensor([-100.0, -50.0]), torch.tensor([10.0, 20.0])
    for seen, beta in [(0, 0.0), (250, 0.5), (1000, 2.0), (5000, 2.0)]:
        found = v.negative_elbo(likelihood, kl, schedule.at(seen))
        close(found, torch.tensor([100 + 10 * beta, 50 + 20 * beta]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    x, m = draw(3, 1, 40, 40).to(dtype), draw(3, 1, 40, 40, seed=1).to(dtype)
    for of in (v.bernoulli, v.gaussian, v.squared_error):
        found = of(x, m)
        assert found.dtype == torch.float32
        close(found.double(), of(x.double(), m.double()), 1e-5)
    found = v.discretised_logistic(x, m, torch.zeros(1, dtype=dtype))
    assert found.dtype == torch.float32
    assert v.divergence(x.flatten(1), m.flatten(1)).dtype == torch.float32
