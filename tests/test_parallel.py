"""Several processes compute what one computes on the whole batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.parallel import World
from distgan.parallel.batchnorm import convert_batch_norm
from distgan.recipes import recipe

from . import ranks

SMALL_DCGAN = {"generator.network.width": 4, "discriminator.network.width": 4}
SMALL_MLP = {"generator.network.widths": "64,128", "discriminator.network.widths": "128,64"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mnist-mlp-tutorial", {}),
    "minimax": ("mnist-mlp-tutorial", {**SMALL_MLP, "loss": "minimax", "share_fakes": True}),
    "conditional": ("mnist-mlp-conditional", SMALL_MLP),
    "dcgan": ("mnist-dcgan", SMALL_DCGAN),
    "dcgan sharing fakes": ("mnist-dcgan", {**SMALL_DCGAN, "share_fakes": True}),
    "uneven shares": ("mnist-dcgan", {**SMALL_DCGAN, "batch": 31}),
}
STEPS = 50


def configs(precision: str) -> list[RunConfig]:
    return [
        override(recipe(name), {"precision": precision, **changes})
        for name, changes in CASES.values()
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[ranks.Weights]]:
    """In a process of its own: float32's rounding depends on what a process ran before."""

    @functools.cache
    def trained(precision: str) -> list[ranks.Weights]:
        folder = tmp_path_factory.mktemp("alone")
        found: list[ranks.Weights] = ranks.on_ranks(
            1, ranks.train_all, folder, configs(precision), STEPS
        )[0]
        return found

    return trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "precision"),
    [
        pytest.param(2, "float64", marks=pytest.mark.drill),
        pytest.param(2, "float32", marks=pytest.mark.drill),
        pytest.param(3, "float64", marks=pytest.mark.drill),
    ],
)
def test_weights_after_50_updates_do_not_depend_on_the_number_of_processes(
    alone: Callable[[str], list[ranks.Weights]], tmp_path: Path, size: int, precision: str
) -> None:
    # In float32 a small tensor, such as the mean of a batch norm's nearly centred input,
    # may differ by more than its network does as a whole.
    bound, of_a_tensor = {"float32": (1e-5, 1e-4), "float64": (1e-10, 1e-10)}[precision]
    results = ranks.on_ranks(size, ranks.train_all, tmp_path, configs(precision), STEPS)
    for case, expected, *found in zip(CASES, alone(precision), *results, strict=True):
        worst = max(ranks.distance(weights, expected) for weights in found)
        network = max(ranks.network_distance(weights, expected) for weights in found)
        print(f"{case}: {size} processes, {precision}: network {network:.1e}, tensor {worst:.1e}")
        assert network < bound, case
        assert worst < of_a_tensor, case


def _recipes_as_they_are(world: World, accumulate: int) -> list[ranks.Weights]:
    names = ("mnist-mlp", "mnist-mlp-conditional")
    return [
        ranks.train_steps(world, override(recipe(name), {"accumulate": accumulate}), STEPS)
        for name in names
    ]


@pytest.mark.drill
def test_two_processes_and_two_micro_batches_round_alike_to_the_last_bit(tmp_path: Path) -> None:
    # With the recipes' own ReLU: halves of a batch go through the same kernels either way.
    expected = ranks.on_ranks(1, _recipes_as_they_are, tmp_path, 2)[0]
    found = ranks.on_ranks(2, _recipes_as_they_are, tmp_path, 1)[0]
    for one, other in zip(expected, found, strict=True):
        for part in ("generator", "discriminator", "ema"):
            for name, tensor in one[part].items():
                assert torch.equal(tensor, other[part][name]), (part, name)


def _without_weights(world: World, config: RunConfig) -> ranks.Weights:
    World.weight = lambda self, batch: 1.0  # type: ignore[method-assign]
    return ranks.train_steps(world, config, 5)


@pytest.mark.slow
def test_the_comparison_can_fail(tmp_path: Path) -> None:
    config = configs("float64")[list(CASES).index("uneven shares")]
    expected = ranks.train_steps(World(), config, 5)
    found = ranks.on_ranks(2, _without_weights, tmp_path, config)
    assert ranks.distance(found[0], expected) > 1e-6


def _batch_norm(world: World, x: torch.Tensor, target: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(0)
    layer = convert_batch_norm(nn.Sequential(nn.BatchNorm2d(3).double()))
    nn.init.normal_(layer[0].weight)
    cut = [0, 3, len(x)] if world.size == 2 else [0, 3, 4, len(x)]
    mine = slice(cut[world.rank], cut[world.rank + 1])
    part = x[mine].clone().requires_grad_()
    out = layer(part)
    ((out - target[mine]) ** 2).sum().backward()
    grads = [layer[0].weight.grad, layer[0].bias.grad]
    for grad in grads:
        torch.distributed.all_reduce(grad)
    return [out.detach(), part.grad, *grads, layer[0].running_mean, layer[0].running_var]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.slow
def test_batch_norm_over_uneven_ranks_is_batch_norm_over_the_whole(
    tmp_path: Path, size: int
) -> None:
    torch.manual_seed(1)
    x, target = torch.randn(2, 7, 3, 5, 4, dtype=torch.float64) * 3 + 100
    results = ranks.on_ranks(size, _batch_norm, tmp_path, x, target)
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(3).double()
    nn.init.normal_(layer.weight)
    whole = x.clone().requires_grad_()
    out = layer(whole)
    ((out - target) ** 2).sum().backward()
    expected = [layer.weight.grad, layer.bias.grad, layer.running_mean, layer.running_var]
    close = {"rtol": 1e-9, "atol": 1e-9}
    torch.testing.assert_close(torch.cat([r[0] for r in results]), out, **close)
    torch.testing.assert_close(torch.cat([r[1] for r in results]), whole.grad, **close)
    for result in results:
        for found, wanted in zip(result[2:], expected, strict=True):
            torch.testing.assert_close(found, wanted, **close)
