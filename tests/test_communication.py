"""What travels between ranks, counted by a hook inside DDP, and what may be rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.families.adversarial import AdversarialTerms
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import Penalty, PenaltySettings
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.network import TrainableNetwork
from distgan.training.state import TrainingState

from . import ranks
from .steps import adversarial_step, batch_of
from .test_exactness import BATCH, CLASSES, IMAGE, TINY, _batch, train

BASIS = {**TINY["mlp"], "batch": BATCH, "latent": 4, "precision": "float64"}


def configure(**changes: Any) -> RunConfig:
    return override(
        recipe("mnist-mlp-tutorial"), BASIS | {k.replace("__", "."): v for k, v in changes.items()}
    )


class Counter(TrainingState):
    """A state whose networks count the bytes that DDP averages."""

    def __init__(self, config: RunConfig, world: World) -> None:
        super().__init__(config, DataSpec.numbered(IMAGE, CLASSES), world)
        self.sent = {"generator": 0, "discriminator": 0}
        for name in self.sent:
            player: TrainableNetwork = self.networks[name]
            # A lambda, because DDP compares annotations, which here are text.
            player.parallel.register_comm_hook(  # type: ignore[operator]
                name, lambda side, bucket: self._count(side, bucket)
            )

    def _count(self, name: str, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        self.sent[name] += bucket.buffer().nbytes
        return allreduce_hook(None, bucket)


def _sent(world: World, config: RunConfig, steps: int) -> tuple[dict[str, int], int]:
    state = Counter(config, world)
    before = world.bytes_sent
    for _ in range(steps):
        starts = range(0, config.batch, config.micro_batch)
        state.step([_batch(config, world, state.images_seen + start) for start in starts])
    return state.sent, world.bytes_sent - before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "generator_updates"),
    [
        ({}, 4),
        ({"accumulate": 2}, 4),
        ({"discriminator__updates": 2}, 2),
        ({"discriminator__penalty__r1": 1.0, "discriminator__penalty__every": 2 * BATCH}, 4),
    ],
    ids=["plain", "accumulate", "two updates", "lazy r1"],
)
def test_a_gradient_travels_once_an_update(
    tmp_path: Path, changes: dict[str, Any], generator_updates: int
) -> None:
    config = configure(**changes)
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
    size = {
        name: sum(p.numel() * 8 for p in state.networks[name].parameters)
        for name in ("generator", "discriminator")
    }
    for sent, counted in ranks.on_ranks(2, _sent, tmp_path, config, 4):
        expected = {
            "generator": generator_updates * size["generator"],
            "discriminator": 4 * size["discriminator"],
        }
        assert sent == expected
        assert counted == sum(expected.values())


def _compressed(world: World, config: RunConfig) -> tuple[ranks.Weights, int]:
    before = world.bytes_sent
    return train(world, config), world.bytes_sent - before


@pytest.mark.slow
def test_compressed_gradients_are_rounded_alike_on_all_ranks(tmp_path: Path) -> None:
    (plain, full), _ = ranks.on_ranks(2, _compressed, tmp_path, configure(precision="float32"))
    config = configure(precision="float32", parallel__compress=True)
    folder = tmp_path / "compressed"
    folder.mkdir()
    (one, half), (other, _) = ranks.on_ranks(2, _compressed, folder, config)
    assert 2 * half == pytest.approx(full, rel=0.01)
    for part in ("G gradient", "D gradient"):
        for name, gradient in one[part].items():
            assert torch.equal(gradient, other[part][name])
            torch.testing.assert_close(gradient, gradient.bfloat16().float(), rtol=0, atol=0)
    assert 0 < ranks.distance({"D": one["D"]}, {"D": plain["D"]}) < 0.1


class Watcher(nn.Module):
    """A discriminator that notes under which precision it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.seen: list[bool] = []

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        self.seen.append(torch.is_autocast_enabled("cpu"))
        out: Tensor = self.layer(images.flatten(1)).squeeze(1)
        return out


class Painter(nn.Module):
    """A generator of four pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        out: Tensor = self.layer(z).view(-1, 1, 2, 2)
        return out


def test_penalised_updates_stay_in_float32() -> None:
    batch = batch_of(torch.rand(6, 1, 2, 2), None, torch.randn(6, 4), torch.randn(6, 4))
    for gamma, expected in ((0.0, [True, True]), (1.0, [False, False, True])):
        torch.manual_seed(0)
        networks = Painter(), Watcher()
        generator, discriminator = (
            TrainableNetwork(n, n, torch.optim.SGD(n.parameters(), 0.1), joint=True)
            for n in networks
        )
        penalty = Penalty(PenaltySettings(r1=gamma), 6, torch.device("cpu"))
        terms = AdversarialTerms(LOSSES["hinge"], penalty=penalty)
        adversarial_step(generator, discriminator, terms, [batch], half=True)
        assert networks[1].seen == expected


def test_bfloat16_changes_gradients_by_its_rounding_only() -> None:
    found = []
    for precision in ("float32", "bf16"):
        config = configure(precision=precision)
        state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
        state.step([_batch(config, World(), 0)])
        assert all(
            p.dtype == torch.float32 for p in state.networks["generator"].network.parameters()
        )
        gradients = [p.grad.clone() for p in state.networks["discriminator"].network.parameters()]
        found.append(torch.cat([gradient.flatten() for gradient in gradients]))
    distance = ((found[0] - found[1]).norm() / found[0].norm()).item()
    assert 0 < distance < 0.05
