"""What a check is given and says, and the small configurations that checks train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import Batch, DataSpec
from distgan.launch.ray.workers import Device
from distgan.launch.start import Result, train
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.plan.batches import random_batches
from distgan.recipes import recipe
from distgan.runs.checkpoint import load_newest
from distgan.storage.storage import Storage
from distgan.training.arithmetic import arithmetic
from distgan.training.state import TrainingState

IMAGE = ImageShape(1, 28, 28)
DATA = DataSpec.numbered(IMAGE, 10)


class FailedError(Exception):
    """What a check was to show is not so; the message says what was found."""


class SkippedError(Exception):
    """A check cannot be made here; the message says why."""


@dataclass(frozen=True)
class Said:
    """What a check that passed found: a line, and figures for the record."""

    line: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where checks are made.

    Args:
        device: of checks in one process.
        ranks: processes of checks with several, each with a GPU where ``device`` is one.
        quick: fewer images and configurations.
        folder: an empty one, for runs.
    """

    device: torch.device
    ranks: int
    quick: bool
    folder: Path

    @property
    def gpu(self) -> bool:
        """Whether this is a GPU, and not a rehearsal."""
        return self.device.type == "cuda"

    @property
    def option(self) -> Device:
        """What ``--device`` takes."""
        return "gpu" if self.gpu else "cpu"

    def needs_gpu(self) -> None:
        """End the check where there is none.

        Raises:
            SkippedError: on CPUs.
        """
        if not self.gpu:
            raise SkippedError("only GPUs have this")

    def wait(self) -> None:
        """Until the device has done all that it was told."""
        if self.gpu:
            torch.cuda.synchronize(self.device)


Check = Callable[[Place], Said]


def configs(place: Place) -> dict[str, RunConfig]:
    """Small ones by what they try: every network, penalties, augmentation, both families."""

    def gan(network: str, **changes: Any) -> RunConfig:
        named = {f"{side}.network.name": network for side in ("generator", "discriminator")}
        return override(recipe("mnist-dcgan"), {**named, **changes, "batch": 32, "latent": 16})

    def narrow(name: str, generator: Any, discriminator: Any) -> dict[str, Any]:
        return {
            f"generator.network.{name}": generator,
            f"discriminator.network.{name}": discriminator,
        }

    r1 = {"discriminator.penalty.r1": 0.5, "discriminator.penalty.every": 64}
    found = {
        "mlp": gan("mlp", **narrow("widths", "64,96", "96,64")),
        "dcgan, ada": gan(
            "dcgan", **narrow("width", 8, 8), **{"discriminator.augment.name": "ada"}
        ),
        "sngan": gan("sngan", **narrow("width", 8, 8), loss="hinge"),
        "r3gan, lazy r1": gan("r3gan", **narrow("widths", "16,12,8", "8,12,16"), **r1),
        "vae": override(recipe("mnist-vae"), {"batch": 32}),
    }
    return dict(list(found.items())[:3]) if place.quick else found


def batches(config: RunConfig, state: TrainingState, seed: int) -> list[Batch]:
    """Random ones, the same on every device and rank: this rank's part of each micro-batch."""
    torch.manual_seed(seed)
    whole = random_batches(config, state.family, config.micro_batch, torch.device("cpu"))
    world, share = state.world, state.world.share(config.micro_batch)

    def here(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: part[share].to(world.device) for name, part in parts.items()}

    weight = world.weight(config.micro_batch)
    return [Batch(here(each.columns), here(each.draws), weight) for each in whole]


def trained(config: RunConfig, world: World, steps: int) -> TrainingState:
    """A state after some steps on `batches`."""
    state = TrainingState(config, DATA, world)
    with arithmetic(config.deterministic, world.device):
        for step in range(steps):
            state.step(batches(config, state, step))
    return state


def weights(state: TrainingState) -> dict[str, Tensor]:
    """All weights and buffers, on the CPU."""
    return {
        f"{role}.{name}": tensor.detach().cpu().clone()
        for role, network in state.networks.items()
        for name, tensor in network.network.state_dict().items()
    }


def run(place: Place, config: RunConfig, name: str, workers: int = 0) -> Result:
    """Train by `distgan.train` on the packaged digits, into a folder of this name."""
    return train(config, out=str(place.folder / name), workers=workers, device=place.option)


def end(folder: Path) -> dict[str, Tensor]:
    """All weights in a run's newest checkpoint."""
    saved = load_newest(Storage(folder))
    assert saved is not None, "a run that ended has a checkpoint"
    return {
        f"{kind}.{role}.{name}": tensor
        for kind in ("networks", "averages")
        for role, part in saved[kind].items()
        for name, tensor in part.items()
    }


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> int:
    """How many numbers have not the same bits."""
    return sum(int((tensor != other[name]).sum()) for name, tensor in one.items())


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest relative distance of two tensors of a name, in norm."""
    return max(
        ((tensor - other[name]).norm() / tensor.norm().clamp_min(1e-12)).item()
        for name, tensor in one.items()
        if tensor.is_floating_point()
    )


def expect(holds: bool, line: str) -> None:
    """See that something is so.

    Raises:
        FailedError: with the line, where it is not.
    """
    if not holds:
        raise FailedError(line)
