"""Clips from few frames: updates against the algorithm written out, motion in its closed form, and
clips of any length and rate."""

from __future__ import annotations

import math
import operator
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distgan import UserError, draws
from distgan.config.clip import Clips, FrameRule
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec, build
from distgan.families.video import differences
from distgan.health.video import RULES
from distgan.networks.motion import MotionCodes, MotionSettings
from distgan.networks.video import SparseDiscriminatorSettings
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

IMAGE = ImageShape(2, 16, 16)
DATA = DataSpec(IMAGE, ("a", "b", "c"), clips=Clips(20, 20, 400, 10.0))
CLIPS, MOMENTS, SPAN = 4, 3, 8
RATES = {"generator": 1e-3, "discriminator": 2e-3}
GAMMA, EVERY = 0.7, 8
MOTION = {"size": 5, "knot_distance": 3, "kernel": 2, "frequencies": 4}
PERIODS = {"shortest_period": 4.0, "longest_period": 32.0}
SMALL = {
    "precision": "float64",
    "batch": CLIPS,
    "latent": 6,
    "conditional": True,
    "sparse.frames": MOMENTS,
    "sparse.span": SPAN,
    "generator.network.width": 3,
    "generator.network.embedding": 2,
    **{f"generator.motion.{name}": value for name, value in {**MOTION, **PERIODS}.items()},
    "generator.optimizer.lr": RATES["generator"],
    "discriminator.network.width": 4,
    "discriminator.network.join_at": 8,
    "discriminator.network.blocks": 1,
    "discriminator.network.time_embedding": 3,
    "discriminator.optimizer.lr": RATES["discriminator"],
    "discriminator.penalty.r1": GAMMA,
    "discriminator.penalty.every": EVERY,
}
Weights = dict[str, Tensor]


def config_of(**changes: Any) -> RunConfig:
    return override(recipe("moving-mnist-video"), {**SMALL, **changes})


def batch_at(state: TrainingState, step: int) -> Batch:
    random = torch.Generator().manual_seed(step)
    mine = range(CLIPS * step, CLIPS * (step + 1))
    columns = {
        "frames": torch.rand(CLIPS, MOMENTS, *IMAGE, generator=random, dtype=torch.float64) * 2 - 1,
        "times": torch.tensor([[0, 1, 4], [3, 4, 5], [9, 13, 17], [2, 8, 10]]).double() + step,
        "label": torch.tensor([0, 2, 1, 1]),
    }
    numbers = {}
    for name, draw in state.family.draws().items():
        make = draws.normals if draw.kind == "normal" else draws.uniforms
        numbers[name] = torch.from_numpy(make(1, name, [mine], draw.size)).double()
    return Batch(columns, numbers, 1.0, torch.tensor(mine))


# The algorithm of Skorokhodov et al. 2022 by torch's functions alone. Weights go by the names that
# the project's networks give them, as both have to start from the same.


def leaky(maps: Tensor) -> Tensor:
    return torch.where(maps > 0, maps, 0.2 * maps)


def linear(weights: Weights, name: str, vectors: Tensor) -> Tensor:
    found = vectors @ weights[f"{name}.weight"].T
    return found + weights[f"{name}.bias"] if f"{name}.bias" in weights else found


def moved(weights: Weights, noise: Tensor, time: float) -> Tensor:
    """v(t) of one clip: noise (knots, size) -> (2 frequencies,), number by number."""
    knots, size = noise.shape
    kernel = MOTION["kernel"]
    codes = noise
    for layer in range(2):
        weight, bias = (weights[f"motion.smooth.{layer}.{kind}"] for kind in ("weight", "bias"))
        codes = torch.stack(
            [
                leaky(bias + sum(weight[:, :, k] @ codes[knot + k] for k in range(kernel)))
                for knot in range(len(codes) - kernel + 1)
            ]
        )
    assert codes.shape == (knots - 2 * (kernel - 1), size)
    distance = MOTION["knot_distance"]
    left = math.floor(time / distance)
    share = time / distance - left
    factor = linear(weights, "motion.periods", codes[left]).tanh() + 1
    phase = linear(weights, "motion.phases", codes[left])
    count = MOTION["frequencies"]
    ratio = PERIODS["longest_period"] / PERIODS["shortest_period"]
    waves = torch.tensor(
        [PERIODS["shortest_period"] * ratio ** (n / (count - 1)) for n in range(count)]
    ).double()

    def encoded(since: float) -> Tensor:
        angle = 2 * math.pi / waves * factor * since + phase
        return torch.cat([angle.sin(), angle.cos()])

    of_left, of_right = (
        linear(weights, "motion.aligners", codes[knot]) for knot in (left, left + 1)
    )
    chord = (1 - share) * encoded(0.0) + share * encoded(distance)
    aligned = (1 - share) * of_left + share * of_right
    return encoded(time - left * distance) - chord + aligned


def generated(weights: Weights, batch: Batch, update: str) -> tuple[Tensor, Tensor]:
    """Clips of few frames, and their times."""
    numbers = {name: batch.draws[f"{update}-{name}"] for name in ("content", "motion", "times")}
    rule = FrameRule(MOMENTS, span=SPAN)
    whole = torch.from_numpy(rule.differences(numbers["times"].float().numpy()))
    times = (1 - numbers["times"][:, :1]) * MOTION["knot_distance"] + whole
    rows = []
    for clip in range(CLIPS):
        noise = numbers["motion"][clip].view(-1, MOTION["size"])
        label = weights["frame.input.embed.weight"][batch.labels[clip]]
        for time in times[clip].tolist():
            rows.append(torch.cat([numbers["content"][clip], moved(weights, noise, time), label]))
    maps = torch.stack(rows)[:, :, None, None]
    maps = functional.conv_transpose2d(maps, weights["frame.layers.0.weight"])
    for norm, layer in ((1, 3), (4, 6)):
        mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
        maps = (maps - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        gain, bias = (weights[f"frame.layers.{norm}.{kind}"] for kind in ("weight", "bias"))
        maps = (maps * gain[:, None, None] + bias[:, None, None]).clamp_min(0)
        bias = weights.get(f"frame.layers.{layer}.bias")
        weight = weights[f"frame.layers.{layer}.weight"]
        maps = functional.conv_transpose2d(maps, weight, bias, 2, 1)
    return maps.tanh().view(CLIPS, MOMENTS, *IMAGE), times


def halved(weights: Weights, name: str, maps: Tensor) -> Tensor:
    def convolved(layer: str, maps: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        bias = weights.get(f"{name}.{layer}.bias")
        return functional.conv2d(maps, weights[f"{name}.{layer}.weight"], bias, stride, padding)

    maps = leaky(convolved("0", maps, 2, 1))
    inner = leaky(convolved("2.mix", leaky(convolved("2.expand", maps)), padding=1))
    return maps + convolved("2.contract", inner)


def judged(weights: Weights, frames: Tensor, times: Tensor, labels: Tensor) -> Tensor:
    """Logits of clips, float (n,)."""
    each = [halved(weights, "alone", frames[:, moment]) for moment in range(MOMENTS)]
    maps = halved(weights, "together", torch.cat(each, 1))
    features = leaky(linear(weights, "last", maps.flatten(1)))
    parts = []
    for moment in range(1, MOMENTS):
        apart = times[:, moment] - times[:, moment - 1]
        parts.append(weights["times.embed.weight"][apart.round().long()])
        angles = torch.stack([apart * math.pi / 2**octave for octave in range(10)], 1)
        parts += [angles.sin(), angles.cos()]
    embedded = linear(
        weights, "times.last", leaky(linear(weights, "times.mix", torch.cat(parts, 1)))
    )
    embedded = embedded + weights["projection.embed.weight"][labels]
    return linear(weights, "logit", features)[:, 0] + (embedded * features).sum(1)


def softplus(logits: Tensor) -> Tensor:
    return (1 + logits.exp()).log()


def one_update(step: int, batch: Batch, nets: dict[str, Weights], adams: dict[str, Any]) -> None:
    generator, discriminator = nets["generator"], nets["discriminator"]
    labels = batch.labels
    assert labels is not None
    frames = batch.columns["frames"].clone().requires_grad_()
    fake, times = generated(generator, batch, "discriminator")
    real = judged(discriminator, frames, batch.columns["times"], labels)
    loss = softplus(-real).mean()
    loss = loss + softplus(judged(discriminator, fake.detach(), times, labels)).mean()
    if CLIPS * step % EVERY == 0:
        (slope,) = torch.autograd.grad(real.sum(), frames, create_graph=True)
        penalty = GAMMA / 2 * (slope**2).sum((1, 2, 3, 4)).mean()
        loss = loss + EVERY / CLIPS * penalty
    adams["discriminator"].zero_grad()
    loss.backward()
    adams["discriminator"].step()
    fake, times = generated(generator, batch, "generator")
    adams["generator"].zero_grad()
    softplus(-judged(discriminator, fake, times, labels)).mean().backward()
    adams["generator"].step()


@pytest.mark.parametrize("updates", [1, 3])
def test_updates_are_those_of_the_algorithm(updates: int) -> None:
    """With R1 in the first and the third."""
    state = TrainingState(config_of(), DATA, World())
    start: dict[str, Weights] = {
        role: {
            name: weight.detach().clone().requires_grad_()
            for name, weight in net.network.named_parameters()
        }
        for role, net in state.networks.items()
    }
    adams = {
        role: torch.optim.Adam(weights.values(), lr=RATES[role], betas=(0.0, 0.99))
        for role, weights in start.items()
    }
    for step in range(updates):
        batch = batch_at(state, step)
        one_update(step, batch, start, adams)
        state.step([batch])
    for role, weights in start.items():
        for name, found in state.networks[role].network.named_parameters():
            difference = (found - weights[name]).norm()
            assert difference < 1e-10 * weights[name].norm().clamp_min(1e-2), (role, name)


def codes_of(**changes: Any) -> MotionCodes:
    torch.manual_seed(0)
    return MotionCodes(MotionSettings(**{**MOTION, **PERIODS, **changes})).double()


def noise_of(knots: int) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randn(1, knots, MOTION["size"], generator=random, dtype=torch.float64)


def test_motion_has_its_closed_form_at_any_time() -> None:
    codes, noise = codes_of(), noise_of(9)
    times = torch.tensor([[0.0, 0.1, 1.5, 2.999, 3.0, 7.25, 14.0, 17.9]]).double()
    weights = {f"motion.{name}": weight for name, weight in codes.named_parameters()}
    found = codes(noise, times)[0]
    for moment, time in enumerate(times[0].tolist()):
        assert (found[moment] - moved(weights, noise[0], time)).abs().max() < 1e-12, time


def test_motion_has_no_jumps_at_knots() -> None:
    """There it is the aligned code alone, whatever the waves are."""
    codes, noise = codes_of(), noise_of(9)
    knots = MOTION["knot_distance"] * torch.arange(1, 6).double()
    before, at, after = (codes(noise, (knots + by)[None])[0] for by in (-1e-7, 0, 1e-7))
    assert (before - at).abs().max() < 1e-5
    assert (after - at).abs().max() < 1e-5
    between = codes(noise, (knots + 1.4)[None])[0]
    straight = torch.lerp(at[:-1], at[1:], 1.4 / MOTION["knot_distance"])
    assert (between[:-1] - straight).abs().max() > 0.1


def test_motion_repeats_where_the_noise_does() -> None:
    """Waves count from their own knot: no time of a clip is different from others."""
    codes, noise = codes_of(), noise_of(5)
    times = torch.tensor([[0.0, 1.3, 4.5]]).double()
    later = codes(torch.cat([noise, noise], 1), times + 5 * MOTION["knot_distance"])
    assert (later - codes(noise, times)).abs().max() < 1e-12


def test_published_sizes_have_the_published_counts() -> None:
    codes = MotionCodes(MotionSettings())
    counts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in codes.named_children()
    }
    assert counts.pop("smooth") == 5_768_192
    assert sum(counts.values()) == 524_288
    assert MotionSettings().knots(0) == 2 + 20


def test_noise_reaches_as_far_as_the_times_do() -> None:
    settings = MotionSettings(**MOTION, **PERIODS)
    for last in (0.0, 2.9, 3.0, 3.1, 30.0):
        codes, needed = codes_of(), settings.knots(last)
        times = torch.tensor([[0.0, last]]).double()
        longer = noise_of(needed + 3)
        assert torch.allclose(codes(longer[:, :needed], times), codes(longer, times), atol=1e-12)
        # One knot fewer is too few, but where the time is that of a knot.
        wrong = codes(longer[:, : needed - 1], times) - codes(longer, times)
        assert (wrong.abs().max() > 1e-3) == (last % MOTION["knot_distance"] > 0)


@pytest.mark.parametrize(("frames", "span"), [(2, 1), (2, 16), (3, 16), (4, 5), (6, 32)])
def test_fakes_lie_as_far_apart_as_reals(frames: int, span: int) -> None:
    rule = FrameRule(frames, span=span)
    numbers = draws.uniforms(0, "rule", [range(2_000)], rule.numbers)
    found = differences(rule, torch.from_numpy(numbers))
    assert np.array_equal(found.numpy(), rule.differences(numbers))
    real = rule.choose(np.full(2_000, 40), numbers)
    assert np.array_equal(found.diff(dim=1).numpy(), np.diff(real, axis=1))


def test_times_of_fakes_are_no_whole_numbers_and_fit_the_noise() -> None:
    family: Any = build(config_of(), DATA)
    for number in (2.0**-25, 0.5, 1.0):
        numbers = torch.full((1, family.frame_rule.numbers), number)
        times = family.times(Batch({}, {"generator-times": numbers}), "generator")
        motion = family.config.generator.motion
        needed = motion.knots(times.max().item()) * motion.size
        assert 0 <= times.min() <= motion.knot_distance
        assert needed <= family.draws()["generator-motion"].size
    spread = draws.uniforms(0, "t", [range(100)], family.frame_rule.numbers)
    batch = Batch({}, {"generator-times": torch.from_numpy(spread)})
    assert (family.times(batch, "generator") % 1).std() > 0.2


@pytest.fixture(scope="module")
def updated() -> TrainingState:
    """A model whose batch norms have seen clips."""
    state = TrainingState(config_of(precision="float32", batch=CLIPS), DATA, World())
    for step in range(3):
        batch = batch_at(state, step)
        columns = {n: c.float() if c.is_floating_point() else c for n, c in batch.columns.items()}
        numbers = {name: number.float() for name, number in batch.draws.items()}
        state.step([Batch(columns, numbers, 1.0, batch.numbers)])
    for name, running in state.averages["generator"].average.named_buffers():
        if name.endswith("running_var"):
            # After so few steps it is still far above that of the maps, and frames would be gray.
            running.fill_(1e-3)
    return state


def made(state: TrainingState, frames: int, spacing: float) -> Tensor:
    family: Any = state.family
    with state.generating() as networks, torch.no_grad():
        return family.clips(networks, 0, "test", range(3), frames=frames, spacing=spacing)


def test_longer_clips_begin_like_shorter_ones_and_finer_ones_hold_the_coarse(
    updated: TrainingState,
) -> None:
    """To rounding: matrix products of other sizes add up in another order."""
    short = made(updated, 16, 1)
    assert short.shape == (3, 16, *IMAGE)
    assert (short[:, 1:] - short[:, :-1]).abs().mean() > 1e-3
    assert (made(updated, 32, 1)[:, :16] - short).abs().max() < 1e-5
    fine = made(updated, 31, 0.5)
    assert (fine[:, ::2] - short).abs().max() < 1e-5
    assert (fine[:, 1::2] - short[:, :-1]).abs().mean() > 1e-4
    assert (made(updated, 8, 2) - short[:, ::2]).abs().max() < 1e-5


def test_a_frame_does_not_depend_on_the_others(updated: TrainingState) -> None:
    family: Any = updated.family
    with updated.generating() as networks, torch.no_grad():
        batch = family.generation_batch(networks, 0, "test", range(3))
        noise = torch.stack([batch.draws[f"motion-{n}"] for n in range(len(batch.draws) - 1)], 1)
        content, times = batch.draws["content"], torch.tensor([[0.0, 2.7, 5.0, 14.9]])
        generator = networks["generator"]
        together = generator(content, noise, times.expand(3, -1), batch.labels)
        for moment in range(4):
            alone = generator(content, noise, times[:, [moment]].expand(3, -1), batch.labels)
            assert (alone[:, 0] - together[:, moment]).abs().max() < 1e-6


def test_the_discriminator_sees_how_far_apart_frames_are_and_not_when() -> None:
    torch.manual_seed(0)
    settings = SparseDiscriminatorSettings(width=4, join_at=8)
    network = settings.build(IMAGE, MOMENTS, SPAN, 0).double()
    frames = torch.rand(5, MOMENTS, *IMAGE, dtype=torch.float64)
    times = torch.tensor([[0.0, 1, 4]]).double().expand(5, -1)
    logits = network(frames, times)
    assert logits.shape == (5,)
    assert (network(frames, times + 11) - logits).abs().max() < 1e-12
    assert (network(frames, 2 * times) - logits).abs().min() > 1e-6
    assert (network(frames.flip(1), times) - logits).abs().min() > 1e-6


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match=r"--sparse.span 3: .*--sparse.frames 4 needs; take 4"):
        config_of(**{"sparse.frames": 4, "sparse.span": 3})
    config_of(**{"sparse.frames": 4, "sparse.span": 4})
    with pytest.raises(UserError, match=r"longest_period 3: is less than .*shortest_period 4"):
        config_of(**{"generator.motion.longest_period": 3})
    with pytest.raises(UserError, match=r"join_at 16: .*these are 16x16"):
        build(config_of(**{"discriminator.network.join_at": 16}), DATA).networks()
    short = DataSpec(IMAGE, DATA.classes, clips=Clips(8, 20, 400, 10.0))
    with pytest.raises(UserError, match=r"--sparse.span 8: needs clips of at least 9 frames"):
        build(config_of(), short).check_data()


@pytest.mark.parametrize("sign", ["motion", "flicker", "disorder", "motion_variety", "drift"])
def test_remedies_name_settings_that_training_heeds(sign: str) -> None:
    well = {"motion": 1.0, "flicker": 1.0, "disorder": 0.0, "motion_variety": 1.0, "drift": 0.0}
    ill = {**well, sign: 0.01 if sign.startswith("motion") else 9.0}
    family = build(config_of(), DATA)
    rules = family.health_rules()[-len(RULES) :]
    (verdict,) = [verdict for rule in rules for verdict in rule([well] * 6, ill)]
    assert "--clip" not in verdict.remedy, "training sees sparse frames"
    named = re.findall(r"--([a-z_.0-9]+[a-z0-9])", verdict.remedy)
    assert named
    for name in named:
        operator.attrgetter(name)(family.config)
