"""Training steps on real processes, for tests that compare numbers of them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from distgan.config.run import RunConfig
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.parallel.groups import GROUPS
from distgan.training.state import TrainingState

Weights = dict[str, dict[str, torch.Tensor]]


def on_ranks(size: int, function: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What ``function(world, *arguments)`` returns on each of ``size`` processes."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    mp.spawn(_enter, (size, function, str(folder), arguments), nprocs=size, join=True)
    return [
        torch.load(folder / f"rank-{rank}-of-{size}.pt", weights_only=False) for rank in range(size)
    ]


def _enter(rank: int, size: int, function: Callable[..., Any], folder: str, arguments: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{size}", rank=rank, world_size=size
    )
    # As the workers of a run do.
    GROUPS.separate(torch.device("cpu"))
    result = function(World(rank, size), *arguments)
    torch.save(result, f"{folder}/rank-{rank}-of-{size}.pt")
    dist.destroy_process_group()
    # DDP leaves gloo's threads alive, and one that has yet to free something of Python's,
    # a hook of a test for one, aborts a process whose interpreter is being taken down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def train_steps(world: World, config: RunConfig, steps: int, smooth: bool = False) -> Weights:
    """All weights and buffers after some steps on the real set.

    ``smooth`` puts SiLU in the place of ReLU. At the kink of a ReLU a difference in the
    last bit of float32 becomes one of a whole gradient, and after that runs part: with
    some 400,000 activations a step, one lies that close to its kink every ten steps or so.
    """
    images = open_images(config.data)
    state = TrainingState(config, DataSpec.numbered(images.shape, len(images.classes)), world)
    if smooth:
        _smoothen(state.networks["generator"].network)
        _smoothen(state.networks["discriminator"].network)
    damage = Damage(images, 0)
    rows = Resident(read_resident(images), config.seed, config.micro_batch, world, damage)
    feed = Feed(rows, state.family.columns(), state.family.draws(), config, world)
    for _ in range(steps):
        starts = range(0, config.batch, config.micro_batch)
        state.step([feed.batch(state.images_seen + start) for start in starts])
    adaptation = state.family.adaptation
    probability = torch.zeros(()) if adaptation is None else adaptation.probability
    return {
        "generator": state.networks["generator"].network.state_dict(),
        "discriminator": state.networks["discriminator"].network.state_dict(),
        "ema": state.averages["generator"].average.state_dict(),
        "statistics": {
            name: torch.tensor(mean)
            for name, mean in state.statistics.means(world).items()
            # Shares of samples jump with a last bit of float32.
            if name not in ("d_accuracy", "d_sign") or config.precision == "float64"
        },
        "augment": {"p": probability},
    }


def _smoothen(network: nn.Module) -> None:
    for name, child in network.named_children():
        if isinstance(child, (nn.ReLU, nn.LeakyReLU)):
            setattr(network, name, nn.SiLU())
        else:
            _smoothen(child)


def train_all(world: World, configs: list[RunConfig], steps: int) -> list[Weights]:
    """`train_steps` of several configurations, one after another in the same processes."""
    return [train_steps(world, c, steps, smooth=c.precision == "float32") for c in configs]


def distance(found: Weights, expected: Weights) -> float:
    """The largest relative distance, in norm, of any tensor."""
    worst = 0.0
    for part, tensors in expected.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.norm() != 0:
                difference = (found[part][name] - tensor).norm() / tensor.norm()
                worst = max(worst, _or_infinite(difference.item()))
    return worst


def _or_infinite(distance: float) -> float:
    # max and sorted make nothing of nan, which is as far off as can be.
    return distance if math.isfinite(distance) else math.inf


def network_distance(found: Weights, expected: Weights) -> float:
    """The largest relative distance, in norm, of any network with all its tensors as one."""

    def flat(weights: Weights, part: str) -> torch.Tensor:
        tensors = [x for x in weights[part].values() if x.is_floating_point()]
        return torch.cat([x.double().flatten() for x in tensors])

    return max(
        _or_infinite(
            ((flat(found, part) - flat(expected, part)).norm() / flat(expected, part).norm()).item()
        )
        for part in ("generator", "discriminator", "ema")
    )
