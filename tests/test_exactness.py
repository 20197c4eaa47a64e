"""Any number of processes and micro-batches compute what one does on the whole batch.

In float64, every loss with every penalty on every network, and every training aid; each
world size is spawned once and goes through all cases.
"""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from distgan import draws
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import Batch, DataSpec
from distgan.networks import GENERATORS, ImageShape
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import GRADIENT_PENALTIES
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from . import ranks
from .steps import batch_of

IMAGE, CLASSES, BATCH, UPDATES = ImageShape(2, 8, 8), 3, 14, 3
BOUND = 1e-9
TINY: dict[str, dict[str, Any]] = {
    "mlp": {"generator.network.widths": "6,5", "discriminator.network.widths": "6,5"},
    "dcgan": {"generator.network.width": 3, "discriminator.network.width": 3},
    "sngan": {"generator.network.width": 4, "discriminator.network.width": 4},
    "r3gan": {
        f"{side}.network.{name}": value
        for side in ("generator", "discriminator")
        for name, value in (("widths", "8,8"), ("cardinality", "4"), ("blocks", "1"))
    },
}
"""Settings that make each network small; smooth ones need no more."""
WITH_BATCH_STATISTICS = ("dcgan", "sngan")
PENALTIES: dict[str, dict[str, Any]] = {
    "none": {},
    **{name: {f"discriminator.penalty.{name}": 0.5} for name in GRADIENT_PENALTIES},
    "r1 and r2": {"discriminator.penalty.r1": 0.5, "discriminator.penalty.r2": "0.5:0.1:50"},
    "lecam": {"discriminator.penalty.lecam": 0.3},
    "clip": {"discriminator.penalty.clip": 0.05},
}
AIDS: dict[str, dict[str, Any]] = {
    "lazy r1": {"discriminator.penalty.r1": 0.5, "discriminator.penalty.every": 2 * BATCH},
    "top-k": {"generator.top_k": 0.5},
    "top-k of pairs": {"generator.top_k": 0.5, "loss": "relativistic"},
    "clipped gradients": {"generator.clip_norm": 1e-3, "discriminator.clip_norm": 1e-3},
    "two penalties on other images": {
        "discriminator.penalty.wgan_gp": 0.5,
        "discriminator.penalty.dragan": 0.3,
    },
    "two updates": {"discriminator.updates": 2},
    "shared fakes": {"share_fakes": True},
    "schedules": {"generator.optimizer.lr": "1e-3:0:40:linear"},
    "conditional": {"conditional": True},
    "projection": {"conditional": True, "discriminator.network.conditioning": "projection"},
    "auxiliary": {"conditional": True, "discriminator.network.conditioning": "auxiliary"},
    "ada": {"discriminator.augment.name": "ada", "discriminator.augment.interval": BATCH},
    "penalties at raw images": {
        "loss": "relativistic",
        "discriminator.penalty.r1": 0.5,
        "discriminator.penalty.r2": 0.3,
        "discriminator.penalty.at": "raw",
        "discriminator.augment.name": "ada",
        "discriminator.augment.groups": "blit,geometric,color:0.5,cutout",
        "discriminator.augment.probability": 0.8,
    },
}


def cases() -> dict[str, RunConfig]:
    """Every configuration by what it is, one process to compare with included."""
    found: dict[str, dict[str, Any]] = {}
    for network, accumulate in itertools.product(GENERATORS, (1, 2)):
        basis = {
            **{f"{side}.network.name": network for side in ("generator", "discriminator")},
            **TINY[network],
            **{f"{side}.optimizer.eps": 1e-3 for side in ("generator", "discriminator")},
            "batch": BATCH,
            "latent": 4,
            "accumulate": accumulate,
            "precision": "float64",
        }
        for loss, penalty in itertools.product(LOSSES, PENALTIES):
            name = f"{network} / {loss} / {penalty} / {accumulate}"
            found[name] = {**basis, "loss": loss, **PENALTIES[penalty]}
        for aid, changes in AIDS.items():
            found[f"{network} / {aid} / {accumulate}"] = {**basis, **changes}
    return {
        name: override(recipe("mnist-mlp-tutorial"), changes) for name, changes in found.items()
    }


def _batch(config: RunConfig, world: World, first: int) -> Batch:
    share = world.share(config.micro_batch)
    mine = [range(first + share.start, first + share.stop)]

    def normal(stream: str, size: int) -> torch.Tensor:
        return torch.from_numpy(draws.normals(1, stream, mine, size)).to(config.dtype)

    def uniform(stream: str, size: int) -> torch.Tensor | None:
        numbers = torch.from_numpy(draws.uniforms(1, stream, mine, size)) if size else None
        return None if numbers is None else numbers.to(config.dtype)

    size = config.discriminator.augment.numbers
    return batch_of(
        real=normal("real", 128).tanh().view(-1, *IMAGE),
        labels=torch.tensor(mine[0]) % CLASSES if config.conditional else None,
        discriminator_latent=normal("discriminator", config.latent),
        generator_latent=normal("generator", config.latent),
        weight=world.weight(config.micro_batch),
        augment=[uniform(use, size) for use in ("a", "b", "c")],
        penalty={
            name: torch.from_numpy(draws.uniforms(1, name, mine, numbers)).to(config.dtype)
            for name, numbers in config.discriminator.penalty.numbers(IMAGE).items()
        },
    )


def train(world: World, config: RunConfig) -> ranks.Weights:
    """Weights, buffers and last gradients of both networks after a few updates."""
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)
    for player in state.networks.values():
        # Some networks begin with weights of 0, which would hide what hangs on them.
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for parameter in player.network.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(noise, alpha=0.05)
    for _ in range(UPDATES):
        starts = range(0, config.batch, config.micro_batch)
        state.step([_batch(config, world, state.images_seen + start) for start in starts])
    networks = {
        "G": state.networks["generator"].network,
        "D": state.networks["discriminator"].network,
    }
    return {
        **{name: dict(network.named_parameters()) for name, network in networks.items()},
        **{
            f"{name} gradient": {
                key: value.grad.clone()
                for key, value in network.named_parameters()
                if value.grad is not None
            }
            for name, network in networks.items()
        },
        "statistics": {
            key: torch.tensor(mean) for key, mean in state.statistics.means(world).items()
        },
    }


def train_all(world: World, configs: dict[str, RunConfig]) -> dict[str, ranks.Weights]:
    return {name: train(world, config) for name, config in configs.items()}


def distance(found: ranks.Weights, expected: ranks.Weights) -> float:
    """The largest relative distance, in norm, of any network's gradient or weights."""

    def whole(tensors: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.cat([tensor.detach().flatten() for tensor in tensors.values()])

    pairs = [(whole(found[part]), whole(tensors)) for part, tensors in expected.items()]
    found_distances = [((a - b).norm() / b.norm().clamp_min(1e-12)).item() for a, b in pairs]
    # max and sorted make nothing of nan, which is as far off as can be.
    return max(each if math.isfinite(each) else math.inf for each in found_distances)


def _reference(name: str) -> str:
    # Batch statistics are those of a micro-batch; nothing else depends on the division.
    network, *middle, _ = name.split(" / ")
    return name if network in WITH_BATCH_STATISTICS else " / ".join([network, *middle, "1"])


@pytest.fixture(scope="module")
def alone() -> dict[str, ranks.Weights]:
    return train_all(World(), cases())


def _worst(found: dict[str, ranks.Weights], alone: dict[str, ranks.Weights]) -> dict[str, float]:
    distances = {name: distance(found[name], alone[_reference(name)]) for name in found}
    return dict(sorted(distances.items(), key=lambda item: -item[1])[:5])


@pytest.mark.slow
def test_micro_batches_change_nothing(alone: dict[str, ranks.Weights]) -> None:
    in_parts = {name: found for name, found in alone.items() if _reference(name) != name}
    assert in_parts
    worst = _worst(in_parts, alone)
    assert max(worst.values()) < BOUND, worst


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "every"),
    [(3, 11), *(pytest.param(size, 1, marks=pytest.mark.drill) for size in (2, 3))],
)
def test_processes_change_nothing(
    alone: dict[str, ranks.Weights], tmp_path: Path, size: int, every: int
) -> None:
    # Some of all cases each time: a number that goes through them all as they are laid out.
    some = dict(itertools.islice(cases().items(), 0, None, every))
    for found in ranks.on_ranks(size, train_all, tmp_path, some):
        worst = _worst(found, alone)
        print(f"{size} processes, {len(found)} cases, the worst: {worst}")
        assert max(worst.values()) < BOUND, worst


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_what_r3gan_adds_is_exact_over_processes(tmp_path: Path, size: int) -> None:
    wanted = ("r3gan / penalties at raw images / 1", "r3gan / penalties at raw images / 2")
    some = {name: config for name, config in cases().items() if name in wanted}
    alone = train_all(World(), some)
    for found in ranks.on_ranks(size, train_all, tmp_path, some):
        worst = _worst(found, alone)
        print(f"{size} processes: {worst}")
        assert max(worst.values()) < BOUND, worst


def _with_local_means(world: World, configs: dict[str, RunConfig]) -> dict[str, ranks.Weights]:
    World.whole = lambda self, batch: lambda values: values  # type: ignore[method-assign]
    World.weight = lambda self, batch: 1.0  # type: ignore[method-assign]
    return train_all(world, configs)


@pytest.mark.slow
def test_the_comparison_can_fail(tmp_path: Path) -> None:
    names = ("mlp / relativistic-average / r1 / 1", "mlp / hinge / none / 1")
    some = {name: config for name, config in cases().items() if name in names}
    found = ranks.on_ranks(3, _with_local_means, tmp_path, some)[0]
    alone = train_all(World(), some)
    for name in names:
        assert distance(found[name], alone[name]) > 1e-4, name
