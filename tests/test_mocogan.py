"""MoCoGAN against the published algorithm written out, and its networks against the paper's."""

from __future__ import annotations

import math
import operator
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distgan import UserError, draws
from distgan.config.clip import Clips
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec, build
from distgan.families.adversarial import Judgement
from distgan.families.check import check_networks, weights
from distgan.networks.unfilled import unfilled
from distgan.parallel import World
from distgan.plan.trace import trace
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from . import ranks

CLASSES, FRAMES, BATCH = 3, 10, 4
CONTENT, MOTION = 5, 3
DATA = DataSpec(ImageShape(1, 16, 16), ("a", "b", "c"), clips=Clips(20, 24, 400, 10.0))
PUBLISHED = DataSpec(ImageShape(3, 64, 64), tuple("abcdef"), clips=Clips(40, 99, 900, 25.0))
SMALL = {
    "precision": "float64",
    "batch": BATCH,
    "clip.frames": FRAMES,
    "clip.stride": 2,
    "generator.network.content": CONTENT,
    "generator.network.motion": MOTION,
    "generator.network.width": 2,
    "generator.ema.half_life": 0,
    "discriminator_image.network.width": 3,
    "discriminator_video.network.width": 3,
}
Weights = dict[str, Tensor]


def config_of(name: str = "moving-mnist-mocogan", **changes: Any) -> Any:
    return override(recipe(name), {**SMALL, **changes})


def batch_of(state: TrainingState, config: RunConfig, step: int) -> Batch:
    """This rank's part of a batch of random pixels: every number a function of the sample."""
    share, family = state.world.share(config.batch), state.family
    mine = range(step * config.batch + share.start, step * config.batch + share.stop)

    def drawn(stream: str, kind: str, size: int) -> Tensor:
        make = draws.normals if kind == "normal" else draws.uniforms
        return torch.from_numpy(make(1, stream, [mine], size)).to(config.dtype)

    rule = family.frame_rule
    assert rule is not None
    shape = (rule.shown, *family.data.image)
    frames = drawn("frames", "normal", math.prod(shape)).tanh().view(-1, *shape)
    columns = {"frames": frames, "times": torch.zeros(len(mine), rule.shown).to(config.dtype)}
    if family.conditional:
        columns["label"] = torch.tensor(mine) % CLASSES
    numbers = {name: drawn(name, d.kind, d.size) for name, d in family.draws().items()}
    return Batch(columns, numbers, state.world.weight(config.batch), torch.tensor(mine))


# The algorithm of Tulyakov et al. 2018 by arithmetic and convolutions. Weights go by the names that
# the project's networks give them, as both have to start from the same.


def normed(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Batch norm over all but channels."""
    axes = (0, *range(2, maps.dim()))
    shape = (1, -1, *[1] * (maps.dim() - 2))
    mean = maps.mean(axes).view(shape)
    variance = ((maps - mean) ** 2).mean(axes).view(shape)
    gain, bias = (weights[f"{name}.{kind}"].view(shape) for kind in ("weight", "bias"))
    return (maps - mean) / (variance + 1e-5).sqrt() * gain + bias


def leaky(maps: Tensor) -> Tensor:
    return torch.where(maps > 0, maps, 0.2 * maps)


def recurrent(weights: Weights, noise: Tensor, state: Tensor) -> Tensor:
    """A gated recurrent unit (Cho et al. 2014), as torch's documentation writes it."""
    of_noise = noise @ weights["cell.weight_ih"].T + weights["cell.bias_ih"]
    of_state = state @ weights["cell.weight_hh"].T + weights["cell.bias_hh"]
    size = state.shape[1]
    reset, update = (
        1 / (1 + (-(of_noise + of_state)[:, part : part + size]).exp()) for part in (0, size)
    )
    new = (of_noise[:, 2 * size :] + reset * of_state[:, 2 * size :]).tanh()
    return (1 - update) * new + update * state


def motions(weights: Weights, start: Tensor, noise: Tensor) -> list[Tensor]:
    """The motion code of each frame."""
    found, state = [], start
    for step in range(FRAMES):
        state = recurrent(weights, noise[:, step * MOTION : (step + 1) * MOTION], state)
        found.append(state)
    return found


def drawn_frames(weights: Weights, codes: Tensor) -> Tensor:
    """Frames of 16x16 from codes of them."""
    maps = functional.conv_transpose2d(codes[:, :, None, None], weights["layers.0.weight"])
    maps = normed(weights, "layers.1", maps).clamp_min(0)
    maps = functional.conv_transpose2d(maps, weights["layers.3.weight"], None, 2, 1)
    maps = normed(weights, "layers.4", maps).clamp_min(0)
    return functional.conv_transpose2d(maps, weights["layers.6.weight"], None, 2, 1).tanh()


def made(weights: Weights, batch: Batch, use: str) -> Tensor:
    """Clips for a use, (n, frames, c, h, w), or frames of uniformly drawn times, (n, c, h, w)."""
    content, start, noise = (
        batch.draws[f"{use}-{part}"] for part in ("content", "start", "motion")
    )
    if batch.labels is not None:
        category = torch.zeros(len(content), CLASSES, dtype=content.dtype)
        category[range(len(content)), batch.labels] = 1
        content = torch.cat([content, category], 1)
    codes = [torch.cat([content, motion], 1) for motion in motions(weights, start, noise)]
    if f"{use}-time" in batch.draws:
        times = [min(int(u * FRAMES), FRAMES - 1) for u in batch.draws[f"{use}-time"][:, 0]]
        return drawn_frames(weights, torch.stack([codes[t][i] for i, t in enumerate(times)]))
    # One after another: sample by sample, frame by frame.
    rows = torch.stack([codes[t][i] for i in range(len(content)) for t in range(FRAMES)])
    return torch.stack(drawn_frames(weights, rows).split(FRAMES))


def image_logits(weights: Weights, frames: Tensor, kind: str) -> Tensor:
    """Two convolutions that halve, and one to logits."""
    maps = leaky(functional.conv2d(frames, weights["layers.0.weight"], None, 2, 1))
    maps = functional.conv2d(maps, weights["layers.2.weight"], None, 2, 1)
    maps = leaky(normed(weights, "layers.3", maps))
    stride, padding = (2, 1) if kind == "patch" else (1, 0)
    return functional.conv2d(maps, weights["layers.5.weight"], None, stride, padding)


def video_logits(weights: Weights, clips: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """The same over four frames at once: 10, 7 and 4 of them are left. Logits, and of classes."""
    maps = clips.transpose(1, 2)
    half = {"stride": (1, 2, 2), "padding": (0, 1, 1)}
    maps = leaky(functional.conv3d(maps, weights["layers.0.weight"], None, **half))
    maps = functional.conv3d(maps, weights["layers.2.weight"], None, **half)
    maps = leaky(normed(weights, "layers.3", maps))
    last = {"stride": (1, 2, 2), "padding": (1, 1, 1)} if kind == "patch" else {}
    logits = functional.conv3d(maps, weights["layers.5.weight"], None, **last)
    return logits[:, 0], logits[:, 1:].mean((2, 3, 4))


def cross_entropy(logits: Tensor, real: bool) -> Tensor:
    """-log D of what should be real, -log(1 - D) of what should not."""
    return (1 + (-logits if real else logits).exp()).log().mean()


def class_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    chosen = logits[range(len(labels)), labels]
    return (logits.exp().sum(1).log() - chosen).mean()


def own(state: TrainingState, role: str) -> Weights:
    named = state.networks[role].network.named_parameters()
    return {name: weight.detach().clone().requires_grad_() for name, weight in named}


def published(config: Any, start: dict[str, Weights], batches: list[Batch]) -> dict[str, Weights]:
    """All networks after an update with each batch."""
    image, video = (config.discriminator_image, config.discriminator_video)
    generator, frame_judge = start["generator"], start["discriminator_image"]
    clip_judge = start["discriminator_video"]
    adams = {
        role: torch.optim.Adam(
            weights.values(), lr=2e-4, betas=(0.5, 0.999), weight_decay=config_decay(config)
        )
        for role, weights in start.items()
    }

    def update(role: str, loss: Tensor) -> None:
        adams[role].zero_grad()
        loss.backward()
        adams[role].step()

    for batch in batches:
        frames, labels = batch.columns["frames"], batch.labels
        fake = made(generator, batch, "image").detach()
        real = image_logits(frame_judge, frames[:, -1], image.network.kind)
        fakes = image_logits(frame_judge, fake, image.network.kind)
        update("discriminator_image", cross_entropy(real, True) + cross_entropy(fakes, False))

        fake = made(generator, batch, "video").detach()
        real, classes = video_logits(clip_judge, frames[:, :-1], video.network.kind)
        fakes, _ = video_logits(clip_judge, fake, video.network.kind)
        loss = cross_entropy(real, True) + cross_entropy(fakes, False)
        if labels is not None:
            loss = loss + config.category * class_cross_entropy(classes, labels)
        update("discriminator_video", loss)

        clips, single = (made(generator, batch, f"generator-{use}") for use in ("video", "image"))
        fakes, classes = video_logits(clip_judge, clips, video.network.kind)
        loss = cross_entropy(fakes, True)
        if labels is not None:
            loss = loss + config.category * class_cross_entropy(classes, labels)
        fakes = image_logits(frame_judge, single, image.network.kind)
        update("generator", loss + cross_entropy(fakes, True))
    return start


def config_decay(config: Any) -> float:
    decay: float = config.generator.optimizer.weight_decay
    return decay


CASES: dict[str, dict[str, Any]] = {
    "as published": {},
    "by labels": {"conditional": True},
    "patches of clips by labels": {
        "conditional": True,
        "category": 0.7,
        "discriminator_video.network.kind": "patch",
        "discriminator_image.network.kind": "full",
    },
    "whole frames, strong decay": {
        "discriminator_image.network.kind": "full",
        **{
            f"{role}.optimizer.weight_decay": 0.5
            for role in ("generator", "discriminator_image", "discriminator_video")
        },
    },
}


@pytest.mark.parametrize("updates", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_updates_are_those_of_the_published_algorithm(case: str, updates: int) -> None:
    config = config_of("mocogan-64", **CASES[case])
    assert config_decay(config) in (1e-5, 0.5)
    state = TrainingState(config, DATA, World())
    start = {role: own(state, role) for role in state.networks}
    before = {r: {n: w.detach().clone() for n, w in each.items()} for r, each in start.items()}
    batches = [batch_of(state, config, step) for step in range(updates)]
    expected = published(config, start, batches)
    for batch in batches:
        state.step([batch])
    assert set(start) == {"generator", "discriminator_image", "discriminator_video"}
    for role, found in expected.items():
        for name, weight in state.networks[role].network.named_parameters():
            apart = (weight - found[name]).norm() / found[name].norm().clamp_min(1e-3)
            assert apart < 1e-10, (role, name)
        moved = [(found[name] - before[role][name]).norm() for name in found]
        assert min(moved) > 1e-5


COUNTS = {
    (3, 6, "patch", "full"): (3_298_836, 663_296, 11_253_504),
    (3, 0, "full", "full"): (3_298_836 - 6 * 512 * 16, 2_765_568, 11_056_896),
    (3, 0, "patch", "patch"): (3_298_836 - 6 * 512 * 16, 663_296, 2_650_880),
    (1, 0, "patch", "full"): (3_247_636, 663_296 - 2 * 64 * 16, 11_048_704),
}
"""Published counts by channels, categories and kinds; where only one with other channels or
categories is, what these make out in the first or last convolution is taken off."""


@pytest.mark.parametrize("case", COUNTS)
def test_networks_have_the_published_numbers_of_weights(case: tuple[int, int, str, str]) -> None:
    channels, classes, image, video = case
    changes = {
        "conditional": classes > 0,
        "discriminator_image.network.kind": image,
        "discriminator_video.network.kind": video,
    }
    data = DataSpec(ImageShape(channels, 64, 64), PUBLISHED.classes, clips=PUBLISHED.clips)
    found = weights(override(recipe("mocogan-64"), changes), data)
    assert tuple(found.values()) == COUNTS[case]
    network: Any = build(recipe("mocogan-64"), PUBLISHED).networks()["generator"].module
    assert sum(p.numel() for p in network.cell.parameters()) == 660


def multiplications(update: Any) -> float:
    """Of a clip in an update, for convolutions."""
    flops: float = update.convolutions.per_image
    return flops / 2


@pytest.mark.slow
def test_a_plan_counts_the_published_networks() -> None:
    """A frame costs the generator 0.104 thousand million multiplications, a clip of 16 the
    discriminator 2.98. In the update of D each of two clips goes through forward, and twice as much
    backward but for the pixels' gradient; besides, fakes are made."""
    frame = 66 * 512 * 16 + (512 * 256 + 256 * 128 * 4 + 128 * 64 * 16 + 64 * 3 * 64) * 16 * 16
    assert frame == pytest.approx(0.104e9, rel=0.02)
    places = [(13, 32), (10, 16), (7, 8), (4, 4), (1, 1)]
    widths = [3, 64, 128, 256, 512, 1]
    layers = [
        widths[i] * widths[i + 1] * 64 * time * side**2 for i, (time, side) in enumerate(places)
    ]
    clip = sum(layers)
    assert clip == pytest.approx(2.98e9, rel=0.01)
    image, video, generator = trace(recipe("mocogan-64"), PUBLISHED).updates
    assert multiplications(video) == pytest.approx(6 * clip - 2 * layers[0] + 16 * frame, rel=0.01)
    assert [u.network for u in (image, video)] == ["discriminator_image", "discriminator_video"]
    # Made forward and twice backward, of which the codes' gradient is small; judged there and back.
    seen = 2 * clip + 17 * 3 * frame
    assert multiplications(generator) == pytest.approx(seen, rel=0.02)


def test_clips_begin_like_longer_ones() -> None:
    config = config_of(conditional=True)
    state = TrainingState(config, DATA, World())
    with torch.no_grad():
        # Those of a start make frames that are nearly all alike.
        for weight in state.networks["generator"].network.layers.parameters():
            weight *= 20
    with state.generating() as networks, torch.no_grad():
        short = state.family.clips(networks, 0, "test", range(3), frames=16)
        long = state.family.clips(networks, 0, "test", range(1, 3), frames=32)
        usual = state.family.clips(networks, 0, "test", range(3))
        other = state.family.clips(networks, 1, "test", range(3), frames=16)
        sheet, columns = state.family.sheet(networks, 0)
    assert long.shape == (2, 32, 1, 16, 16)
    torch.testing.assert_close(long[:, :16], short[1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(usual, short[:, :FRAMES], rtol=0, atol=1e-12)
    assert (other - short).abs().amax((1, 2, 3, 4)).min() > 1e-3
    assert (short[:, 1:] - short[:, :-1]).abs().amax((2, 3, 4)).min() > 1e-4
    assert (len(sheet), columns) == (10 * FRAMES, FRAMES)


@pytest.mark.parametrize("kind", ["full", "patch"])
@pytest.mark.parametrize(
    ("size", "frames"),
    [((8, 8), 2), ((16, 24), 8), ((28, 28), 5), ((64, 64), 16), ((64, 64), 33), ((128, 128), 16)],
)
def test_networks_fit_any_frames(kind: str, size: tuple[int, int], frames: int) -> None:
    changes = {
        "conditional": True,
        "clip.stride": 1,
        "clip.frames": frames,
        "discriminator_image.network.kind": kind,
        "discriminator_video.network.kind": kind,
    }
    config = config_of(**changes, precision="float32")
    data = DataSpec(ImageShape(2, *size), DATA.classes, clips=Clips(40, 40, 400, 10.0))
    with unfilled():
        family = build(config, data)
        networks = {role: each.module for role, each in family.networks().items()}
        clips = torch.zeros(3, frames, 2, *size)
        image = networks["discriminator_image"](clips[:, 0])
        video = networks["discriminator_video"](clips)
        codes = (torch.zeros(3, CONTENT), torch.zeros(3, MOTION), torch.zeros(3, frames * MOTION))
        found = networks["generator"](*codes, torch.zeros(3, dtype=torch.int64))
    assert found.shape == clips.shape
    if kind == "full":
        assert (image.shape, video.shape) == ((3,), (3, 1 + CLASSES))
    else:
        assert (image.dim(), video.dim()) == (4, 5)
        assert (image.shape[:2], video.shape[:2]) == ((3, 1), (3, 1 + CLASSES))
        judged = Judgement.of_outputs(video)
        assert judged.logits.shape == (3, math.prod(video.shape[2:]))
        assert judged.classes is not None
        assert judged.classes.shape == (3, CLASSES)


def test_frames_that_cannot_be_halved_are_refused() -> None:
    data = DataSpec(ImageShape(1, 7, 16), clips=Clips(40, 40, 400, 10.0))
    with pytest.raises(UserError, match=r"--data: needs images with even sides.* resize them$"):
        check_networks(config_of(), data)


def test_single_frames_are_of_every_time_alike() -> None:
    """Of clips with known codes: the cell's state at the drawn time, each as often."""
    config = config_of(batch=1_000, **{"generator.network.norm": "none"})
    state = TrainingState(config, DATA, World())
    batch = batch_of(state, config, 0)
    family: Any = state.family
    with torch.no_grad():
        found = family._made(state.training_step(), batch, "image")
        codes = [batch.draws[f"image-{part}"] for part in ("content", "start", "motion")]
        clips = state.networks["generator"].network(*codes)
    apart = (found[:, None] - clips).abs().amax((2, 3, 4))
    times = apart.argmin(1)
    assert apart.amin(1).max() < 1e-12
    counts = np.bincount(times.numpy(), minlength=FRAMES)
    # Of a binomial distribution the deviation is 9.5.
    assert np.abs(counts - 100).max() < 48


def trained_on_a_rank(world: World) -> dict[str, Weights]:
    config = config_of(conditional=True, batch=5, **{"generator.ema.half_life": 100})
    state = TrainingState(config, DATA, world)
    for step in range(3):
        state.step([batch_of(state, config, step)])
    return {role: dict(net.network.state_dict()) for role, net in state.networks.items()}


@pytest.mark.slow
def test_batch_norm_makes_no_difference_between_ranks(tmp_path: Path) -> None:
    """Of all three networks, with uneven shares; running statistics too."""
    whole = trained_on_a_rank(World())
    for found in ranks.on_ranks(2, trained_on_a_rank, tmp_path):
        for role, tensors in whole.items():
            for name, tensor in tensors.items():
                apart = (found[role][name] - tensor).double().norm()
                assert apart / tensor.double().norm().clamp_min(1e-3) < 1e-9, (role, name)


def test_health_rules_name_settings_that_are_there() -> None:
    family = build(config_of(), DATA)
    well = dict.fromkeys(family.statistics, 0.5) | {"class_entropy": 0.0, "diversity": 1.0}
    for prefix in family.signs.values():
        well |= {f"{prefix}_grad_norm": 1.0, f"{prefix}_update_ratio": 1e-3}
        well |= {f"{prefix}_weight_growth": 1.0}
    well |= {"g_rate": 1.0, "probability": 1.0, "images": 100.0}
    well |= {"motion": 1.0, "flicker": 1.0, "disorder": 0.0, "motion_variety": 1.0, "drift": 0.0}

    def found(**changes: float) -> list[Any]:
        now = well | changes
        return [verdict for rule in family.health_rules() for verdict in rule([well] * 6, now)]

    assert found() == []
    certain = {"d_accuracy_video": 1.0, "d_fake_video": 1e-3}
    (verdict,) = found(**certain)
    assert verdict.state == "discriminator wins"
    assert "--discriminator_video.penalty.r1" in verdict.remedy
    (verdict,) = found(d_image_update_ratio=0.5)
    assert verdict.state == "exploding"
    assert "--discriminator_image.optimizer.lr" in verdict.remedy
    (verdict,) = found(motion_variety=0.1)
    assert verdict.state == "motion collapse"
    assert "--discriminator_video.optimizer.lr" in verdict.remedy
    ill = found(diversity=0.01) + found(motion=0.01) + found(flicker=9.0, disorder=0.9)
    assert {verdict.state for verdict in ill} >= {"frozen", "flickering"}
    for name in re.findall(r"--([a-z_.0-9]+[a-z0-9])", " ".join(each.remedy for each in ill)):
        operator.attrgetter(name)(family.config)
