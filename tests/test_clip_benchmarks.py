"""The textbook's loops of clips give the weights that distgan's step gives, and tables what runs
measure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.textbook_clips import ClipsTextbook, Rule
from benchmarks.video.page import SHOWN, tables
from distgan.config.clip import Clips
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec
from distgan.families.video import Video
from distgan.metrics.names import VALUES
from distgan.parallel import World
from distgan.plan.batches import random_batches
from distgan.recipes import recipe
from distgan.training.state import TrainingState

DATA = DataSpec(ImageShape(1, 16, 16), clips=Clips(20, 20, 400, 10.0))
EXACT = {"precision": "float64", "batch": 4, "generator.ema.half_life": 0}
Fakes = Callable[[str, Batch], tuple[Tensor, tuple[Tensor, ...]]]


def state_of(name: str, changes: dict[str, Any]) -> TrainingState:
    return TrainingState(override(recipe(name), {**EXACT, **changes}), DATA, World())


def compared(
    state: TrainingState,
    judges: dict[str, Callable[[Batch], Tensor]],
    made: Callable[[Any, str, Batch], tuple[Tensor, tuple[Tensor, ...]]],
    given: Callable[[Batch], tuple[Tensor, ...]],
    rule: Rule,
) -> None:
    """Two steps of both from equal weights.

    Args:
        judges: by role, what a discriminator sees of a batch.
        made: of the generator's copy, the draws' names, and a batch.
    """
    own = {role: copy.deepcopy(net.network) for role, net in state.networks.items()}
    config = state.family.config
    cpu = torch.device("cpu")
    torch.manual_seed(3)
    batches = [random_batches(config, state.family, config.batch, cpu)[0] for _ in range(2)]
    now: list[Any] = []

    def maker(role: str) -> Callable[[], tuple[Tensor, tuple[Tensor, ...]]]:
        def make() -> tuple[Tensor, tuple[Tensor, ...]]:
            # A discriminator's fakes are made without a graph, the generator's with one.
            return made(
                own["generator"], role if not torch.is_grad_enabled() else f"g {role}", now[0]
            )

        return make

    loop = ClipsTextbook(own["generator"], [(own[role], maker(role)) for role in judges], rule)
    for batch in batches:
        now[:] = [batch]
        loop.step([(see(batch), given(batch)) for see in judges.values()])
        state.step([batch])
    for role, network in own.items():
        for name, weight in network.named_parameters():
            found = dict(state.networks[role].network.named_parameters())[name]
            apart = (found - weight).norm() / weight.norm().clamp_min(1e-3)
            assert apart < 1e-9, (role, name)


def rule_of(config: Any, **more: Any) -> Rule:
    adam = config.generator.optimizer
    return Rule(adam.lr.at(0), (adam.beta1.at(0), adam.beta2.at(0)), **more)


def test_mocogan_beside_its_textbook() -> None:
    rates = {
        f"{role}.optimizer.{name}": value
        for role in ("generator", "discriminator_image", "discriminator_video")
        for name, value in (("lr", 1e-3), ("eps", 1e-8))
    }
    # With batch norm, frames that are not looked at would count: the textbook makes whole clips.
    group = {"clip.frames": 4, "generator.network.norm": "group"}
    state = state_of("moving-mnist-mocogan", {**rates, **group})

    def made(generator: Any, use: str, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        kind = use.rpartition("_")[2]
        prefix = f"generator-{kind}" if use.startswith("g ") else kind
        codes = [batch.draws[f"{prefix}-{part}"] for part in ("content", "start", "motion")]
        clips = generator(*codes)
        if kind == "video":
            return clips, ()
        times = (batch.draws[f"{prefix}-time"][:, 0] * 4).long().clamp_max(3)
        return clips[torch.arange(len(clips)), times], ()

    compared(
        state,
        {
            "discriminator_image": lambda batch: batch.columns["frames"][:, -1],
            "discriminator_video": lambda batch: batch.columns["frames"][:, :-1],
        },
        made,
        lambda batch: (),
        rule_of(state.family.config),
    )


def test_sparse_video_beside_its_textbook() -> None:
    state = state_of(
        "moving-mnist-video",
        {
            **{"discriminator.penalty.every": 8, "discriminator.network.join_at": 4},
            # The textbook has one rate for all networks.
            **{f"{role}.optimizer.lr": 1e-3 for role in ("generator", "discriminator")},
        },
    )
    family = state.family
    assert isinstance(family, Video)

    def made(generator: Any, use: str, batch: Batch) -> tuple[Tensor, tuple[Tensor, ...]]:
        update = "generator" if use.startswith("g ") else "discriminator"
        times = family.times(batch, update)
        noise = batch.draws[f"{update}-motion"].unflatten(
            1, (-1, family.config.generator.motion.size)
        )
        return generator(batch.draws[f"{update}-content"], noise, times), (times,)

    # R1 is due in the first of two steps, and weighs as much more.
    penalty = family.config.discriminator.penalty
    weight = penalty.r1.at(0)
    compared(
        state,
        {"discriminator": lambda batch: batch.columns["frames"]},
        made,
        lambda batch: (batch.columns["times"],),
        rule_of(family.config, r1=2 * weight, every=2),
    )


@pytest.mark.parametrize("name", SHOWN)
def test_every_value_of_the_table_is_one_of_an_evaluation(name: str) -> None:
    assert name in {*VALUES, "speed", "frame-difference"}


def test_the_table_shows_means_and_held_out_clips() -> None:
    records = [
        {
            "side": "moving-mnist-video",
            "seed": seed,
            "seconds": 60,
            "threads": 1,
            "num": 100,
            "values": {"clip-frechet": 10.0 + seed, "speed": 1.5, "speed-of-real": 1.75},
            "speed": {"clips": 1000, "seconds": 60.0},
        }
        for seed in (0, 2)
    ]
    text = tables(records)
    assert "11 (10 to 12)" in text
    assert "| *held-out clips* | - | 1.75 |" in text
