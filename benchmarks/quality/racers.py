"""Who races: the textbook loop on the tutorial's networks, and distgan's recipes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from benchmarks.textbook import BETAS, RATE, Textbook
from distgan.allocator import keep_freed_memory
from distgan.config import Config
from distgan.data.damage import Damage
from distgan.data.feed import Feed, scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.settings import override, to_dict
from distgan.state import TrainingState


@dataclass(frozen=True)
class Racer:
    """``step`` is one update of both networks and returns its images; ``sampler`` gives the
    generator to be measured, and ``resume`` makes it ready to train again."""

    step: Callable[[], int]
    sampler: Callable[[], nn.Module]
    resume: Callable[[], object]
    latent: int


def textbook(data: str, seed: int) -> Racer:
    """PyTorch's DCGAN example: the networks of `mnist-dcgan`, batch 128, float32, Adam.

    Its generator is sampled as it is, with the running statistics of its batch norms.
    """
    torch.manual_seed(seed)
    config, images = recipe("mnist-dcgan"), open_images(data)
    generator = config.generator.network.build(images.shape, config.latent, 0)
    loop = Textbook(generator, config.discriminator.network.build(images.shape, 0))
    pixels = torch.from_numpy(read_resident(images).images)
    reals = scale_pixels(pixels, torch.float32).contiguous()
    order, at = torch.randperm(len(reals)), 0

    def step() -> int:
        nonlocal order, at
        if at + config.batch > len(reals):
            order, at = torch.randperm(len(reals)), 0
        chosen = order[at : at + config.batch]
        at += config.batch
        loop.step(reals[chosen], torch.randn(config.batch, config.latent))
        return config.batch

    return Racer(step, generator.eval, generator.train, config.latent)


def configured(data: str, seed: int, name: str, changes: dict[str, Any]) -> Config:
    """A recipe as it races."""
    return override(recipe(name), {**changes, "data": data, "seed": seed})


def distgan(data: str, seed: int, name: str, changes: dict[str, Any]) -> Racer:
    """A recipe of distgan: its step and its feed; its moving average is sampled."""
    keep_freed_memory()
    config, images, world = configured(data, seed, name, changes), open_images(data), World()
    rows = Resident(read_resident(images), seed, config.batch, world, Damage(images, 0))
    feed = Feed(rows, config, images.shape, world)
    state = TrainingState(config, images.shape, 0, world)

    def step() -> int:
        state.step([feed.batch(state.images_seen)])
        return config.batch

    return Racer(step, lambda: state.ema.average, lambda: None, config.latent)


SAME = {"precision": "bf16", "share_fakes": True}
"""What distgan changes where networks, batch and rates are the textbook's own."""
RACERS: dict[str, tuple[Callable[..., Racer], tuple[Any, ...]]] = {
    "textbook": (textbook, ()),
    "distgan": (distgan, ("mnist-speedrun", {})),
    "distgan, mnist-dcgan": (distgan, ("mnist-dcgan", SAME)),
}
"""By the name in the table, with what they are made of."""


def described(name: str, data: str, seed: int) -> dict[str, Any]:
    """What a racer is, for the record."""
    build, arguments = RACERS[name]
    if build is textbook:
        return {"networks": "mnist-dcgan", "batch": 128, "adam": [RATE, *BETAS]}
    return to_dict(configured(data, seed, *arguments))
