"""Sides of `benchmarks.throughput` that make images of images: pix2pix and CycleGAN.

Both compute the same update from the same batches in memory. Where a recipe makes its inputs from
the images, distgan's side does that in every step, and the textbook has them ready.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.textbook_translation import (
    CycleGANTextbook,
    Pix2PixTextbook,
    Rule,
    in_torch_layers,
)
from benchmarks.turns import Work
from distgan.config.settings import override
from distgan.families import Batch, DataSpec, build
from distgan.families.cyclegan_config import CycleGANConfig
from distgan.families.pix2pix_config import Pix2PixConfig
from distgan.families.translation import Translation
from distgan.families.translation_config import TranslationConfig
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.recipes import recipe
from distgan.training.state import TrainingState

_BATCHES = 4


@dataclass(frozen=True)
class TranslationWorkload:
    """Networks and batch of a recipe, on images of a shape; both sides have it."""

    about: str
    recipe: str
    image: ImageShape

    @property
    def config(self) -> TranslationConfig:
        """The recipe without a moving average, which the textbook does not have."""
        found = override(recipe(self.recipe), {"generator.ema.half_life": 0})
        assert isinstance(found, TranslationConfig)
        return found

    @property
    def data(self) -> DataSpec:
        """What both sides' networks know of the data."""
        return DataSpec(self.image, pair=self.image, other=self.image)

    @property
    def batch(self) -> int:
        """Images of a step; of unpaired sets, of each side."""
        return self.config.batch


TRANSLATIONS = {
    "W5": TranslationWorkload(
        "pix2pix, recipe edges2digits-pix2pix", "edges2digits-pix2pix", ImageShape(1, 28, 28)
    ),
    "W6": TranslationWorkload(
        "pix2pix as published, 256x256x3", "pix2pix-256", ImageShape(3, 256, 256)
    ),
    "W7": TranslationWorkload(
        "CycleGAN, recipe edges2digits-cyclegan", "edges2digits-cyclegan", ImageShape(1, 28, 28)
    ),
    "W8": TranslationWorkload(
        "CycleGAN as published for small images, 64x64x3", "cyclegan-256", ImageShape(3, 64, 64)
    ),
}


def rule_of(config: TranslationConfig, least: int = 0) -> Rule:
    """The textbook's settings for the same updates as a configuration's.

    Args:
        least: images seen, where schedules are read.
    """
    adam = config.generator.optimizer
    found: dict[str, Any] = {
        "rate": adam.lr.at(least),
        "betas": (adam.beta1.at(least), adam.beta2.at(least)),
        "least_squares": config.loss == "least-squares",
    }
    if isinstance(config, Pix2PixConfig):
        found["l1"] = config.l1.at(least)
    elif isinstance(config, CycleGANConfig):
        found |= {"cycle": config.cycle.at(least), "identity": config.identity.at(least)}
        found["pool"] = config.pool
    return Rule(**found)


def random_batches(workload: TranslationWorkload) -> list[Batch]:
    """A few batches in memory, the same for every side."""
    torch.manual_seed(1)
    family = _family(workload)

    def images() -> Tensor:
        return torch.rand(workload.batch, *workload.image).mul_(2).sub_(1)

    numbers = torch.arange(workload.batch)
    return [
        Batch({name: images() for name in family.columns()}, {}, numbers=numbers)
        for _ in range(_BATCHES)
    ]


def _family(workload: TranslationWorkload) -> Translation:
    family = build(workload.config, workload.data, World())
    assert isinstance(family, Translation)
    return family


def textbook(name: str, threads: int) -> Work:
    """The loop that a reader of the papers writes."""
    torch.set_num_threads(threads)
    workload = TRANSLATIONS[name]
    family, rule = _family(workload), rule_of(workload.config)
    torch.manual_seed(workload.config.seed)
    networks = {role: in_torch_layers(net.module) for role, net in family.networks().items()}
    step = update(networks, rule)
    batches = itertools.cycle([family.sides(batch) for batch in random_batches(workload)])

    def work() -> int:
        step(*next(batches))
        return workload.batch

    return work


def update(networks: dict[str, nn.Module], rule: Rule) -> Callable[[Tensor, Tensor], Any]:
    """The textbook's step with networks by role; it takes the images of A and B of a batch."""
    if "generator" in networks:
        return Pix2PixTextbook(networks["generator"], networks["discriminator"], rule).step
    generators = networks["generator_ab"], networks["generator_ba"]
    judges = networks["discriminator_a"], networks["discriminator_b"]
    return CycleGANTextbook(generators, judges, rule).step


def ours(name: str, threads: int, precision: str, compiled: str = "off") -> Work:
    """distgan's step, with what its workers set for their process."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    workload = TRANSLATIONS[name]
    config = override(workload.config, {"precision": precision, "compile": compiled})
    state = TrainingState(config, workload.data, World())
    batches = itertools.cycle(map(_laid_out, random_batches(workload)))

    def work() -> int:
        state.step([next(batches)])
        return workload.batch

    return work


def _laid_out(batch: Batch) -> Batch:
    columns = {
        name: images.contiguous(memory_format=torch.channels_last)
        for name, images in batch.columns.items()
    }
    return replace(batch, columns=columns)
