"""What learning from clips needs of others: batch norm, penalties and decay of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distgan.config.optimizer import AdamSettings
from distgan.objectives.penalties import around, between
from distgan.parallel import World
from distgan.parallel.batchnorm import convert_batch_norm
from distgan.training import optimizer

from . import ranks


def part_of_batch_norm(world: World, rows: list[int]) -> tuple[Tensor, ...]:
    """Output, gradients, and a gradient of gradients, of this rank's part of a batch."""
    layer, clips = convert_batch_norm(nn.Sequential(new_norm())), new_clips()
    start = sum(rows[: world.rank])
    return derivatives(layer, clips[start : start + rows[world.rank]], world)


def new_norm() -> nn.BatchNorm3d:
    layer = nn.BatchNorm3d(4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -0.5, 2.0, 0.1]))
        layer.bias.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    return layer


def new_clips() -> Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randn(5, 4, 3, 2, 6, generator=random, dtype=torch.float64) * 3 + 2


def derivatives(layer: nn.Module, clips: Tensor, world: World) -> tuple[Tensor, ...]:
    clips = clips.clone().requires_grad_()
    out = layer(clips)
    slopes = torch.autograd.grad((out.sin() * out).sum(), clips, create_graph=True)[0]
    slopes.square().sum().backward()
    norm = layer[0] if isinstance(layer, nn.Sequential) else layer
    gains = [parameter.grad.clone() for parameter in norm.parameters()]
    for gain in gains:
        if world.size > 1:
            torch.distributed.all_reduce(gain)
    return out.detach(), slopes.detach(), clips.grad, *gains, norm.running_mean, norm.running_var


@pytest.mark.slow
def test_batch_norm_of_clips_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """On two ranks of uneven parts, to the second derivative."""
    expected = derivatives(new_norm(), new_clips(), World())
    one, other = ranks.on_ranks(2, part_of_batch_norm, tmp_path, [3, 2])
    for number, (whole, *parts) in enumerate(zip(expected, one, other, strict=True)):
        if number < 3:
            torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-10)
        else:
            for part in parts:
                torch.testing.assert_close(part, whole, rtol=1e-10, atol=1e-10)


def clip_between(real: Tensor, fake: Tensor, numbers: Tensor) -> Tensor:
    return torch.stack([f + u * (r - f) for r, f, u in zip(real, fake, numbers[:, 0], strict=True)])


def clip_around(real: Tensor, fake: Tensor, numbers: Tensor) -> Tensor:
    noise = numbers[:, 1:].reshape(real.shape)
    return torch.stack(
        [r + u[0] * r.std() / 2 * n for r, u, n in zip(real, numbers, noise, strict=True)]
    )


@pytest.mark.parametrize(("ours", "plain"), [(between, clip_between), (around, clip_around)])
def test_penalties_take_clips(ours: Callable[..., Tensor], plain: Callable[..., Tensor]) -> None:
    random = torch.Generator().manual_seed(0)
    real, fake = torch.rand(2, 3, 5, 1, 4, 4, generator=random, dtype=torch.float64)
    size = 1 if ours is between else 1 + 5 * 16
    numbers = torch.rand(3, size, generator=random, dtype=torch.float64)
    torch.testing.assert_close(ours(real, fake, numbers), plain(real, fake, numbers))


def test_weight_decay_is_added_to_the_gradient() -> None:
    layer = nn.Linear(3, 1, bias=False)
    weights = layer.weight.detach().clone()
    adam = optimizer.build(AdamSettings(weight_decay=0.5), layer)
    layer(torch.tensor([[1.0, 2.0, 3.0]])).sum().backward()
    adam.step()
    expected = torch.tensor([[1.0, 2.0, 3.0]]) + 0.5 * weights
    # beta1 is 0: the first moment is the gradient.
    torch.testing.assert_close(adam.state[layer.weight]["exp_avg"], expected)
    optimizer.follow_schedules(AdamSettings(weight_decay=0.25), adam, 0)
    assert adam.param_groups[0]["weight_decay"] == 0.25
