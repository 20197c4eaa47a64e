"""What every family promises: the same on any ranks, resumed to the bit, drawn, measured, watched.

The toy family shows that nothing but its own file is needed for it.
"""

from __future__ import annotations

import copy
import functools
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import distgan
from distgan import draws
from distgan.cli import main
from distgan.config.clip import Clips
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec
from distgan.families.registry import FAMILIES as REGISTERED
from distgan.parallel import World
from distgan.plan.trace import trace
from distgan.recipes import recipe
from distgan.runs import records
from distgan.runs.export import load_generator
from distgan.runs.generator import LoadedGenerator
from distgan.runs.translator import LoadedTranslator
from distgan.storage.storage import Storage
from distgan.training.state import TrainingState

from . import ranks, toy_family
from .kept_quick import slow_but

IMAGE, CLASSES, BATCH = ImageShape(1, 8, 8), 3, 14
NARROW = {"generator.network.widths": "8,6", "discriminator.network.widths": "8,6", "latent": 4}
# Gradients of biases in front of an instance norm are rounding, which Adam scales up to its rate.
ROUGH = {"generator.optimizer.eps": 1e-4, "discriminator.optimizer.eps": 1e-4}
UNET = {**ROUGH, "generator.network.width": 2, "generator.network.norm": "instance"}
RESNET = {
    **ROUGH,
    "generator.network.name": "resnet",
    "generator.network.width": 2,
    "generator.network.blocks": 2,
}
PATCHES = {
    "discriminator.network.layers": 1,
    "discriminator.network.width": 2,
    "discriminator.network.norm": "instance",
}
ENLARGING = {**ROUGH, "generator.network.width": 2, "generator.network.blocks": 1}
DIGITS = {"data": "mnist", "task": "edges"}
SETS = {"task": "sets", "data_b": "mnist"}
AIDED = {
    "loss": "relativistic-average",
    "discriminator.augment.name": "diffaugment",
    "discriminator.penalty.r1": 1,
    "discriminator.penalty.lecam": 0.1,
    "discriminator.penalty.every": 28,
    "generator.ema.half_life": 100,
}
MOCOGAN_ROLES = ("generator", "discriminator_image", "discriminator_video")
# Few enough places that some maps have more, and some fewer. Short vectors have steep gradients.
PLACES = {"places": 40, "projector.network.width": 5, "generator.optimizer.eps": 1e-2}
# Batch norm would see other batches in micro-batches.
MOCOGAN = {
    **{f"{role}.network.norm": "group" for role in MOCOGAN_ROLES},
    **{f"{role}.network.width": 4 for role in MOCOGAN_ROLES},
    **{f"{role}.optimizer.eps": 1e-4 for role in MOCOGAN_ROLES},
    "generator.network.content": 4,
    "generator.network.motion": 3,
    "clip.frames": 4,
}
SPARSE: dict[str, Any] = {
    **{"latent": 4, "sparse.span": 8, "generator.network.name": "r3gan"},
    **{"generator.network.widths": "8,6", "generator.motion.size": 4, "generator.motion.kernel": 2},
    **{"generator.motion.frequencies": 3, "discriminator.network.width": 4},
    **{"generator.optimizer.eps": 1e-4, "discriminator.optimizer.eps": 1e-4},
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    # Of an image without edges an instance norm would leave nothing but enlarged rounding.
    "cyclegan": (
        "edges2digits-cyclegan",
        {**RESNET, "generator.network.norm": "group", **PATCHES, "identity": 0, "pool": 5},
    ),
    "cut": (
        "edges2digits-cut",
        {**RESNET, **PATCHES, **PLACES, "discriminator.optimizer.lr": 2e-4},
    ),
    "gan": ("mnist-mlp-tutorial", NARROW),
    "mocogan": ("moving-mnist-mocogan", MOCOGAN),
    "pix2pix": (
        "cifar10-colorize",
        {**RESNET, "generator.network.norm": "group", **PATCHES, **DIGITS},
    ),
    "superres": ("cifar10-superres", {**ENLARGING, **PATCHES, "data": "mnist"}),
    "toy": ("toy", {"code": 4}),
    "vae-gan": ("mnist-vae-gan", {**NARROW, "encoder.network.widths": "8,6"}),
    "video": ("moving-mnist-video", SPARSE),
    "vae": ("mnist-vae", {"encoder.widths": "8,6", "decoder.widths": "8,6", "latent": 4}),
}
"""By family: a recipe, and what makes it small. Every registered family is to be here."""
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **FAMILIES,
    "cyclegan, aids": (
        "edges2digits-cyclegan",
        {**RESNET, "generator.network.dropout": 0.5, **PATCHES, **AIDED, **SETS, "pool": 5},
    ),
    "cut, fast": (
        "edges2digits-fastcut",
        {**RESNET, **PATCHES, **PLACES, "nce": 1, "task": "sets"},
    ),
    "cut, aids": (
        "edges2digits-cut",
        {**RESNET, "generator.network.dropout": 0.5, **PATCHES, **PLACES, "task": "sets", **AIDED},
    ),
    "mocogan, patches by labels": (
        "moving-mnist-mocogan",
        {
            **MOCOGAN,
            "conditional": True,
            "discriminator_image.network.kind": "full",
            "discriminator_video.network.kind": "patch",
            "generator.optimizer.weight_decay": 0.01,
        },
    ),
    "mocogan, aids": (
        "moving-mnist-mocogan",
        {
            **MOCOGAN,
            "conditional": True,
            "loss": "relativistic-average",
            "generator.ema.half_life": 100,
            **{
                f"{role}.{name}": value
                for role in MOCOGAN_ROLES[1:]
                for name, value in (
                    ("augment.name", "diffaugment"),
                    ("penalty.r1", 1),
                    ("penalty.lecam", 0.1),
                    ("penalty.every", 28),
                )
            },
        },
    ),
    "pix2pix, U-Net": ("cifar10-colorize", {**UNET, **PATCHES, **DIGITS}),
    "pix2pix, pairs": (
        "cifar10-colorize",
        {**RESNET, "generator.network.dropout": 0.5, **PATCHES, "task": "pairs"},
    ),
    "pix2pix, L1": ("cifar10-colorize", {**UNET, **PATCHES, **DIGITS, "adversarial": 0}),
    "superres, all": (
        "cifar10-superres",
        {
            **{**ENLARGING, **PATCHES, **AIDED, "l2": 0.5, "features": 1, "scale": 4},
            **{"see_input": True, "adversarial": 0.1, "discriminator.network.norm": "none"},
        },
    ),
    "video, aids": (
        "moving-mnist-video",
        {
            **SPARSE,
            **AIDED,
            "conditional": True,
            "sparse.frames": 4,
            "discriminator.network.blocks": 1,
        },
    ),
    "pix2pix, aids": ("cifar10-colorize", {**UNET, **PATCHES, **DIGITS, **AIDED}),
}
"""The families, and what else of them has ways of its own through a step."""
LARGE = DataSpec(
    ImageShape(3, 16, 16), ("0", "1", "2"), pair=ImageShape(1, 16, 16), other=ImageShape(3, 16, 16)
)
"""What translations train on: their networks change the sizes of images."""
HALVED = DataSpec(ImageShape(1, 16, 16))
"""What they halve: digits, of which inputs made from them have the shape too."""


CLIPS = DataSpec(ImageShape(1, 16, 16), ("0", "1", "2"), clips=Clips(20, 24, 400, 10.0))


def data_of(config: RunConfig) -> DataSpec:
    if REGISTERED[config.family][1].makes_clips:
        return CLIPS
    if REGISTERED[config.family][1].translates:
        return HALVED if config.halved else LARGE
    return DataSpec.numbered(IMAGE, CLASSES)


def config_of(family: str, **changes: Any) -> RunConfig:
    base, small = VARIANTS[family]
    exact = {"batch": BATCH, "precision": "float64"}
    return override(recipe(base), {**small, **exact, **changes})


def batch_of(state: TrainingState, config: RunConfig, first: int) -> Batch:
    """This rank's part of the micro-batch from a sample: every number a function of the sample."""
    world = state.world
    share = world.share(config.micro_batch)
    mine = range(first + share.start, first + share.stop)

    def drawn(stream: str, kind: str, size: int) -> torch.Tensor:
        make = draws.normals if kind == "normal" else draws.uniforms
        return torch.from_numpy(make(1, stream, [mine], size)).to(config.dtype)

    columns = {}
    for name, column in state.family.columns().items():
        if column.kind == "label":
            columns[name] = torch.tensor(mine) % CLASSES
            continue
        rule = state.family.frame_rule
        if rule is not None:
            numbers = draws.uniforms(1, "rule", [mine], rule.numbers)
            times = rule.choose(np.full(len(mine), CLIPS.clips.shortest), numbers)
        if column.kind == "times":
            columns[name] = torch.from_numpy(times).to(config.dtype)
            continue
        shape = state.family.data.shape_of(column)
        if column.kind == "frames":
            shape = (rule.shown, *shape)
        rows = drawn(f"column-{name}", "normal", math.prod(shape)).tanh()
        columns[name] = rows.view(-1, *shape)
    numbers = {name: drawn(name, d.kind, d.size) for name, d in state.family.draws().items()}
    return Batch(columns, numbers, world.weight(config.micro_batch), torch.tensor(mine))


def train(state: TrainingState, config: RunConfig, steps: int) -> TrainingState:
    for _ in range(steps):
        starts = range(0, config.batch, config.micro_batch)
        state.step([batch_of(state, config, state.images_seen + first) for first in starts])
    return state


def weights(state: TrainingState) -> dict[str, dict[str, torch.Tensor]]:
    found = {role: dict(net.network.state_dict()) for role, net in state.networks.items()}
    averages = {f"{r} average": dict(e.average.state_dict()) for r, e in state.averages.items()}
    return copy.deepcopy({**found, **averages})


def new(config: RunConfig, world: World) -> TrainingState:
    return TrainingState(config, data_of(config), world)


def on_a_rank(world: World, family: str) -> list[dict[str, dict[str, torch.Tensor]]]:
    configs = [config_of(family), config_of(family, accumulate=2)]
    return [weights(train(new(config, world), config, 4)) for config in configs]


def largest_difference(one: Any, other: Any) -> float:
    """In norm, relative to that of a tensor; of the smallest, where there may be nothing but
    rounding, to 1e-3."""
    assert one.keys() == other.keys()
    return max(
        ((tensor - other[role][name]).norm() / tensor.norm().clamp_min(1e-3)).item()
        for role, tensors in one.items()
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    )


def test_every_registered_family_is_tested() -> None:
    assert set(REGISTERED) == set(FAMILIES)
    assert toy_family.Toy is REGISTERED["toy"][1]


def saved_on_a_rank(world: World, family: str, saved: Any) -> tuple[Any, Any]:
    """What half a run leaves, and all of it gone on from what another number of ranks left."""
    config = config_of(family)
    half = train(new(config, world), config, 2).state_dict()
    resumed = new(config, world)
    # Processes share the memory of what they are given, and optimizers go on in it.
    resumed.load_state_dict(copy.deepcopy(saved), "test")
    train(resumed, config, 2)
    return half, weights(resumed)


def all_on_a_rank(world: World, names: Sequence[str], halves: dict[str, Any]) -> dict[str, Any]:
    return {
        name: (
            on_a_rank(world, name),
            saved_on_a_rank(world, name, halves[name]) if name in halves else None,
        )
        for name in names
    }


@functools.cache
def of_ranks(size: int, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """By rank and name what `all_on_a_rank` found: to start processes for each family would take
    longer than to train."""
    halves = {}
    for name in names if size == 2 else ():
        config = config_of(name)
        halves[name] = train(new(config, World()), config, 2).state_dict()
    with tempfile.TemporaryDirectory() as folder:
        return ranks.on_ranks(size, all_on_a_rank, Path(folder), names, halves)


def on(size: int, family: str) -> list[Any]:
    """What each rank found for a family."""
    others = tuple(name for name in VARIANTS if name not in FAMILIES)
    names = tuple(FAMILIES) if family in FAMILIES else others
    return [found[family] for found in of_ranks(size, names)]


@pytest.mark.slow
@pytest.mark.parametrize("family", VARIANTS)
def test_ranks_and_micro_batches_change_nothing(family: str) -> None:
    """Shares of 14 images on 3 ranks are uneven, and of micro-batches of 7 on 2."""
    whole = on_a_rank(World(), family)[0]
    for size in (1, 2, 3):
        for trained, _ in on(size, family):
            for each in trained:
                assert largest_difference(whole, each) < 1e-9
    other = config_of(family, seed=1)
    assert largest_difference(whole, weights(train(new(other, World()), other, 4))) > 1e-3


@pytest.mark.parametrize("family", slow_but(VARIANTS, *FAMILIES))
def test_micro_batches_change_nothing(family: str) -> None:
    whole, parts = on_a_rank(World(), family)
    assert largest_difference(whole, parts) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("family", VARIANTS)
def test_a_run_goes_on_to_the_bit_and_on_other_ranks(family: str) -> None:
    config = config_of(family)
    straight = weights(train(new(config, World()), config, 4))
    half = train(new(config, World()), config, 2)
    resumed = new(config, World())
    resumed.load_state_dict(copy.deepcopy(half.state_dict()), "test")
    assert largest_difference(straight, weights(train(resumed, config, 2))) == 0
    found = [saved for _, saved in on(2, family)]
    for _, each in found:
        assert largest_difference(straight, each) < 1e-9
    again = new(config, World())
    again.load_state_dict(copy.deepcopy(found[0][0]), "test")
    assert largest_difference(straight, weights(train(again, config, 2))) < 1e-9


@pytest.mark.parametrize("family", VARIANTS)
def test_a_phase_changes_what_it_trains_and_nothing_else(family: str) -> None:
    config = config_of(family)
    state = new(config, World())
    train(state, config, 2)
    # One step: a phase may leave to a later one what it made.
    step, batch = state.training_step(), batch_of(state, config, state.images_seen)
    for phase in state.family.phases(state.images_seen):
        before = weights(state)
        step.run([phase], [batch])
        after = weights(state)
        for role, net in state.networks.items():
            same = [
                torch.equal(before[role][name], after[role][name])
                for name, _ in net.network.named_parameters()
            ]
            assert (not any(same)) if role in phase.trains else all(same), (phase.name, role)
            assert all(parameter.requires_grad for parameter in net.parameters)


@pytest.mark.parametrize("family", slow_but(VARIANTS, "gan", "vae-gan", "pix2pix", "cut"))
def test_a_step_is_planned(family: str) -> None:
    config = config_of(family)
    work = trace(config, data_of(config))
    state = new(config, World())
    assert {update.network for update in work.updates} == {
        phase.name for phase in state.family.phases(0)
    }
    assert work.flops(8) > work.flops(4) > 0
    assert work.updated == sum(p.numel() for net in state.networks.values() for p in net.parameters)


def made_by(loaded: LoadedGenerator, count: int) -> torch.Tensor:
    """Images of the numbers from 0 on, or of random images."""
    if not isinstance(loaded, LoadedTranslator):
        return loaded.sample(count)
    size = math.prod(loaded.input_shape)
    images = torch.from_numpy(draws.uniforms(1, "inputs", [range(count)], size)) * 2 - 1
    return loaded.translate(images.view(-1, *loaded.input_shape))


def few_clips() -> str:
    """A set of clips in the folder of now, with some held out."""
    few = ["--subset", "250", "--validation", "50", "--workers", "0"]
    assert main(["data", "prepare", "moving-mnist-small", "--out", "clips", *few]) == 0
    return "clips"


@pytest.mark.parametrize("family", slow_but(FAMILIES, "gan", "pix2pix"))
def test_the_command_line_trains_resumes_samples_measures_and_reports(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base, small = FAMILIES[family]
    kind = REGISTERED[distgan.recipe(base).family][1]
    if kind.makes_clips:
        small = small | {"data": few_clips()}
    options = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    often = ["--output.log_every", "128", "--batch", "64"]
    run = ["--workers", "0", "--out", "run"]
    assert main(["train", base, *options, *often, "--images", "256", *run]) == 0
    assert main(["train", "--resume", "run", "--images", "512", "--workers", "0"]) == 0
    assert len(list((tmp_path / "run" / "samples").glob("*.png"))) == 3
    assert records.read(Storage(tmp_path / "run"))[-1]["health"] == "healthy"
    assert main(["translate" if kind.translates else "sample", "run", "--num", "9"]) == 0
    metric = "clip-frechet" if kind.makes_clips else "frechet"
    assert main(["evaluate", "run", "--num", "100", "--metrics", metric, "--workers", "0"]) == 0
    assert main(["report", "run"]) == 0
    assert metric in (tmp_path / "run" / "report.html").read_text("utf-8")
    loaded = load_generator("run")
    side = 32 if kind.makes_clips else 28
    assert (loaded.images_seen, loaded.image) == (512, (1, side, side))
    assert torch.equal(made_by(loaded, 3), made_by(loaded, 70)[:3])
    straight = distgan.override(distgan.recipe(base), {**small, "batch": 64, "images": 512})
    distgan.train(straight, out="straight", workers=0)
    assert torch.equal(made_by(load_generator("straight"), 3), made_by(loaded, 3))


@pytest.mark.parametrize("family", slow_but(FAMILIES, "gan", "toy"))
def test_weights_that_are_no_numbers_are_named(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = TrainingState.step

    def spoiling(self: TrainingState, batches: Any) -> None:
        step(self, batches)
        if self.images_seen == 128:
            with torch.no_grad():
                next(iter(self.networks.values())).parameters[0].fill_(torch.nan)

    monkeypatch.setattr(TrainingState, "step", spoiling)
    monkeypatch.chdir(tmp_path)
    base, small = FAMILIES[family]
    if REGISTERED[distgan.recipe(base).family][1].makes_clips:
        small = small | {"data": few_clips()}
    changes = {**small, "batch": 64, "images": 640, "output.log_every": 64}
    with pytest.raises(distgan.UserError, match=r"training diverged: .*not finite"):
        distgan.train(
            distgan.override(distgan.recipe(base), changes), out=tmp_path / "run", workers=0
        )
