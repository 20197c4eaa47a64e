"""Who races: the textbook loop, the same in a peer's way, and distgan's recipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.gans import gan_batch, gan_recipe
from benchmarks.peers import contest
from benchmarks.peers.contest import Task
from benchmarks.textbook import BETAS, RATE, Textbook
from benchmarks.throughput import Workload
from distgan.config.settings import override, to_dict
from distgan.data.damage import Damage
from distgan.data.feed import Feed, scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.resident import Resident
from distgan.families import Batch, DataSpec, Family, build
from distgan.families.gan_config import GANConfig
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.training.state import TrainingState


@dataclass(frozen=True)
class Racer:
    """``step`` is one update of both networks and returns its images; ``sampler`` gives the
    generator to be measured, and ``resume`` makes it ready to train again. ``family`` knows what
    the generator is given."""

    step: Callable[[], int]
    sampler: Callable[[], nn.Module]
    resume: Callable[[], object]
    family: Family


def _batches(data: str, config: GANConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Reals, reshuffled every epoch, and latents, as a loop without a loader draws them."""
    pixels = torch.from_numpy(read_resident(open_images(data)).images)
    reals = scale_pixels(pixels, torch.float32).contiguous()
    while True:
        for chosen in torch.randperm(len(reals)).split(config.batch):
            if len(chosen) == config.batch:
                yield reals[chosen], torch.randn(config.batch, config.latent)


def textbook(data: str, seed: int) -> Racer:
    """PyTorch's DCGAN example: the networks of `mnist-dcgan`, batch 128, float32, Adam.

    Its generator is sampled as it is, with the running statistics of its batch norms.
    """
    torch.manual_seed(seed)
    config, shape = gan_recipe("mnist-dcgan"), open_images(data).shape
    generator = config.generator.network.build(shape, config.latent, 0)
    loop = Textbook(generator, config.discriminator.network.build(shape, 0))
    batches, family = _batches(data, config), build(config, DataSpec(shape))

    def step() -> int:
        loop.step(*next(batches))
        return config.batch

    return Racer(step, generator.eval, generator.train, family)


@dataclass(frozen=True)
class _OfASet(Task):
    """The textbook's networks and batches, for a peer."""

    data: str = ""
    seed: int = 0

    @property
    def workload(self) -> Workload:
        return Workload("mnist-dcgan", open_images(self.data).shape, 128, "dcgan")

    @property
    def config(self) -> GANConfig:
        return override(super().config, {"seed": self.seed})

    def turn(self, convert: Callable[[Batch], Any]) -> Iterator[Any]:
        for real, latent in _batches(self.data, self.config):
            yield convert(gan_batch(real, latent, latent))


def peer(data: str, seed: int, name: str) -> Racer:
    """The same in a peer's way; of `benchmarks.peers`, by its name there."""
    task = _OfASet("W2", torch.get_num_threads(), data=data, seed=seed)
    contender, (generator, _) = contest.build(name, task), task.networks()
    assert contender.fill is not None, f"{name} cannot be sampled from"
    fill = contender.fill

    def sampler() -> nn.Module:
        fill(generator)
        return generator.eval()

    family = build(task.config, DataSpec(task.workload.image))
    return Racer(contender.work, sampler, lambda: None, family)


def configured(data: str, seed: int, name: str, changes: dict[str, Any]) -> GANConfig:
    """A recipe as it races."""
    return override(gan_recipe(name), {**changes, "data": data, "seed": seed})


def distgan(data: str, seed: int, name: str, changes: dict[str, Any]) -> Racer:
    """A recipe of distgan: its step and its feed; its moving average is sampled."""
    keep_freed_memory()
    config, images, world = configured(data, seed, name, changes), open_images(data), World()
    rows = Resident(read_resident(images), seed, config.batch, world, Damage(images, 0))
    state = TrainingState(config, DataSpec(images.shape, images.classes), world)
    feed = Feed(rows, state.family.columns(), state.family.draws(), config, world)

    def step() -> int:
        state.step([feed.batch(state.images_seen)])
        return config.batch

    average = state.averages["generator"].average
    return Racer(step, lambda: average, lambda: None, state.family)


SAME = {"precision": "bf16", "share_fakes": True}
"""What distgan changes where networks, batch and rates are the textbook's own."""
BEST_PEER = "Keras"
"""The fastest of `benchmarks.peers` on convolutions (W2), distgan aside."""
RACERS: dict[str, tuple[Callable[..., Racer], tuple[Any, ...]]] = {
    "textbook": (textbook, ()),
    BEST_PEER: (peer, (BEST_PEER,)),
    "distgan": (distgan, ("mnist-speedrun", {})),
    "distgan, mnist-dcgan": (distgan, ("mnist-dcgan", SAME)),
}
"""By the name in the table, with what they are made of."""


def described(name: str, data: str, seed: int) -> dict[str, Any]:
    """What a racer is, for the record."""
    kind, arguments = RACERS[name]
    if kind is distgan:
        return to_dict(configured(data, seed, *arguments))
    return {"networks": "mnist-dcgan", "batch": 128, "adam": [RATE, *BETAS]}
