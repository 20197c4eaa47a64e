"""Sides of `benchmarks.throughput` that make clips: MoCoGAN and the sparse kind.

Both compute the same updates from the same clips in memory. distgan's side has the codes of its
fakes in memory too, and the textbook draws its own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.textbook_clips import ClipsTextbook, Make, Rule
from benchmarks.turns import Work
from distgan.config.clip import Clips
from distgan.config.settings import override
from distgan.families import Batch, DataSpec, build
from distgan.families.clip_config import ClipConfig
from distgan.families.clip_family import ClipFamily
from distgan.families.mocogan import MoCoGAN
from distgan.families.video import Video
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.plan.batches import random_batches
from distgan.recipes import recipe
from distgan.training.state import TrainingState

_BATCHES = 4


@dataclass(frozen=True)
class ClipWorkload:
    """Networks and batch of a recipe, on frames of a shape; both sides have it."""

    about: str
    recipe: str
    image: ImageShape

    @property
    def config(self) -> ClipConfig:
        """The recipe without a moving average, which the textbook does not have."""
        found = override(recipe(self.recipe), {"generator.ema.half_life": 0})
        assert isinstance(found, ClipConfig)
        return found

    @property
    def data(self) -> DataSpec:
        """What both sides' networks know of the data."""
        return DataSpec(self.image, clips=Clips(20, 20, 200_000, 10.0))

    @property
    def batch(self) -> int:
        """Clips of a step."""
        return self.config.batch


CLIPS = {
    "W9": ClipWorkload(
        "MoCoGAN, recipe moving-mnist-mocogan", "moving-mnist-mocogan", ImageShape(1, 32, 32)
    ),
    "W10": ClipWorkload(
        "sparse video, recipe moving-mnist-video", "moving-mnist-video", ImageShape(1, 32, 32)
    ),
}


def _batches(workload: ClipWorkload, family: ClipFamily) -> list[Batch]:
    """A few batches in memory, the same for every side."""
    torch.manual_seed(1)
    cpu = torch.device("cpu")
    return [
        random_batches(workload.config, family, workload.batch, cpu)[0] for _ in range(_BATCHES)
    ]


def textbook(name: str, threads: int) -> Work:
    """The loop that a reader of the papers writes."""
    torch.set_num_threads(threads)
    workload = CLIPS[name]
    family = build(workload.config, workload.data, World())
    torch.manual_seed(workload.config.seed)
    networks = {role: net.module for role, net in family.networks().items()}
    assert isinstance(family, MoCoGAN | Video)
    batches = _batches(workload, family)
    loop, reals = (_mocogan if isinstance(family, MoCoGAN) else _video)(family, networks, batches)
    turns = itertools.cycle(reals)

    def work() -> int:
        loop.step(next(turns))
        return workload.batch

    work()
    return work


Reals = list[list[tuple[Tensor, tuple[Tensor, ...]]]]


def _mocogan(
    family: MoCoGAN, networks: dict[str, nn.Module], batches: list[Batch]
) -> tuple[ClipsTextbook, Reals]:
    config, generator = family.config, networks["generator"]
    net, frames, count = config.generator.network, config.clip.frames, config.batch

    def clips() -> tuple[Tensor, tuple[Tensor, ...]]:
        codes = (net.content, net.motion, frames * net.motion)
        return generator(*(torch.randn(count, size) for size in codes)), ()

    def single() -> tuple[Tensor, tuple[Tensor, ...]]:
        # As the paper's code: a frame of each of as many whole clips.
        made = clips()[0]
        return made[torch.arange(count), torch.randint(frames, (count,))], ()

    makes: list[tuple[nn.Module, Make]] = [
        (networks["discriminator_image"], single),
        (networks["discriminator_video"], clips),
    ]
    adam = config.generator.optimizer
    rule = Rule(adam.lr.at(0), (adam.beta1.at(0), adam.beta2.at(0)), weight_decay=adam.weight_decay)
    seen = [batch.columns["frames"] for batch in batches]
    return ClipsTextbook(generator, makes, rule), [[(f[:, -1], ()), (f[:, :-1], ())] for f in seen]


def _video(
    family: Video, networks: dict[str, nn.Module], batches: list[Batch]
) -> tuple[ClipsTextbook, Reals]:
    config, generator = family.config, networks["generator"]
    count, rule, motion = config.batch, family.frame_rule, config.generator.motion
    knots = motion.knots(motion.knot_distance + rule.shortest - 1)

    def clips() -> tuple[Tensor, tuple[Tensor, ...]]:
        start = torch.rand(count, 1) * motion.knot_distance
        apart = torch.sort(torch.rand(count, rule.frames) * (rule.shortest - 1)).values
        times = start + (apart - apart[:, :1]).round()
        content, noise = torch.randn(count, config.latent), torch.randn(count, knots, motion.size)
        return generator(content, noise, times), (times,)

    adam, penalty = config.generator.optimizer, config.discriminator.penalty
    every = max(1, penalty.every // count)
    betas = adam.beta1.at(0), adam.beta2.at(0)
    settings = Rule(adam.lr.at(0), betas, r1=every * penalty.r1.at(0), every=every)
    loop = ClipsTextbook(generator, [(networks["discriminator"], clips)], settings)
    return loop, [[(b.columns["frames"], (b.columns["times"],))] for b in batches]


def ours(name: str, threads: int, precision: str, compiled: str = "off") -> Work:
    """distgan's step, with what its workers set for their process."""
    keep_freed_memory()
    torch.set_num_threads(threads)
    workload = CLIPS[name]
    config = override(workload.config, {"precision": precision, "compile": compiled})
    state = TrainingState(config, workload.data, World())
    assert isinstance(state.family, ClipFamily)
    batches = itertools.cycle(_batches(workload, state.family))

    def work() -> int:
        state.step([next(batches)])
        return workload.batch

    # The first step pays the lazy penalty, with gradients of gradients that nothing here counts.
    work()
    return work
