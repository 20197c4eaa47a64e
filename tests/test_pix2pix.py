"""pix2pix against the published algorithm written out, and the tasks it learns from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from distgan import UserError
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec, build, translation
from distgan.families.tasks import TASKS, edges, gray, small
from distgan.networks.random import SampleDropout, sample_numbers
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

COLOUR, PLAIN = ImageShape(3, 64, 64), ImageShape(1, 64, 64)
DATA = DataSpec(COLOUR, pair=PLAIN)
SMALL = {
    "precision": "float64",
    "batch": 4,
    "task": "pairs",
    "generator.network.width": 2,
    "discriminator.network.width": 3,
    "discriminator.network.layers": 1,
    "loss": "non-saturating",
    "generator.optimizer.lr": 2e-4,
    "discriminator.optimizer.lr": 2e-4,
    # Gradients of biases in front of an instance norm are rounding, which Adam scales up.
    "generator.optimizer.eps": 1e-4,
    "discriminator.optimizer.eps": 1e-4,
}
Weights = dict[str, Tensor]


def config_of(**changes: Any) -> RunConfig:
    return override(recipe("cifar10-colorize"), {**SMALL, **changes})


def batches_of(config: RunConfig, step: int) -> list[Batch]:
    """The micro-batches of a step: images and pairs of random pixels."""
    random = torch.Generator().manual_seed(step)
    columns = {
        name: torch.rand(config.batch, *shape, generator=random, dtype=torch.float64) * 2 - 1
        for name, shape in (("image", COLOUR), ("pair", PLAIN))
    }
    numbers = torch.arange(step * config.batch, (step + 1) * config.batch)
    parts = [range(n, n + config.micro_batch) for n in range(0, config.batch, config.micro_batch)]
    return [
        Batch({name: rows[list(part)] for name, rows in columns.items()}, {}, 1.0, numbers[part])
        for part in parts
    ]


# The algorithm of Isola et al. 2017 by torch's functions alone. Weights go by the names that the
# project's networks give them, as both have to start from the same.


def normed(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Batch norm where there are gains, else instance norm."""
    batch = f"{name}.weight" in weights
    axes = (0, 2, 3) if batch else (2, 3)
    mean, variance = maps.mean(axes, keepdim=True), maps.var(axes, unbiased=False, keepdim=True)
    maps = (maps - mean) / (variance + 1e-5).sqrt()
    if not batch:
        return maps
    gain, bias = (weights[f"{name}.{kind}"].view(1, -1, 1, 1) for kind in ("weight", "bias"))
    return maps * gain + bias


def down(weights: Weights, name: str, maps: Tensor, stride: int = 2) -> Tensor:
    bias = weights.get(f"{name}.bias")
    return functional.conv2d(maps, weights[f"{name}.weight"], bias, stride, padding=1)


def up(weights: Weights, name: str, maps: Tensor) -> Tensor:
    bias = weights.get(f"{name}.bias")
    maps = maps * (maps > 0)
    return functional.conv_transpose2d(maps, weights[f"{name}.weight"], bias, 2, padding=1)


def leaky(maps: Tensor) -> Tensor:
    return torch.where(maps > 0, maps, 0.2 * maps)


def unet(weights: Weights, images: Tensor, mask: Tensor | float) -> Tensor:
    """Six levels, with dropout behind the up-convolution of the fifth."""
    first = down(weights, "down.0", images)
    second = normed(weights, "down.1.1", down(weights, "down.1.0", leaky(first)))
    third = normed(weights, "down.2.1", down(weights, "down.2.0", leaky(second)))
    fourth = normed(weights, "down.3.1", down(weights, "down.3.0", leaky(third)))
    fifth = normed(weights, "down.4.1", down(weights, "down.4.0", leaky(fourth)))
    sixth = down(weights, "down.5", leaky(fifth))
    maps = normed(weights, "up.0.1", up(weights, "up.0.0", sixth))
    maps = normed(weights, "up.1.1", up(weights, "up.1.0", torch.cat([fifth, maps], 1))) * mask
    maps = normed(weights, "up.2.1", up(weights, "up.2.0", torch.cat([fourth, maps], 1)))
    maps = normed(weights, "up.3.1", up(weights, "up.3.0", torch.cat([third, maps], 1)))
    maps = normed(weights, "up.4.1", up(weights, "up.4.0", torch.cat([second, maps], 1)))
    return up(weights, "up.5", torch.cat([first, maps], 1)).tanh()


def patches(weights: Weights, images: Tensor) -> Tensor:
    maps = leaky(down(weights, "hidden.0.0", images))
    maps = leaky(normed(weights, "hidden.1.1", down(weights, "hidden.1.0", maps, stride=1)))
    return down(weights, "last", maps, stride=1)


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    """-log D of patches that should be real, -log(1 - D) of those that should not."""
    return -torch.nn.functional.logsigmoid(logits if target else -logits).mean()


def squares(logits: Tensor, target: float) -> Tensor:
    return ((logits - target) ** 2).mean()


CRITERIA: dict[str, Callable[[Tensor, float], Tensor]] = {
    "non-saturating": cross_entropy,
    "least-squares": squares,
}


def own(state: TrainingState, role: str) -> Weights:
    named = state.networks[role].network.named_parameters()
    return {name: weight.detach().clone().requires_grad_() for name, weight in named}


def mask_of(config: RunConfig, numbers: Tensor, dropout: float) -> Tensor | float:
    """Of the only layer that draws, for maps of 16 channels: 4x4 pixels, doubled from 2x2."""
    if not dropout:
        return 1.0
    layer = SampleDropout(dropout)
    layer.number = 0
    with sample_numbers(config.seed, "output", numbers):
        return layer(torch.ones(len(numbers), 16, 4, 4, dtype=torch.float64))


def published(config: Any, start: dict[str, Weights], dropout: float) -> dict[str, Weights]:
    """Both networks after three updates."""
    criterion = CRITERIA[config.loss]
    generator, discriminator = start["generator"], start.get("discriminator", {})
    adams = {
        role: torch.optim.Adam(weights.values(), lr=2e-4, betas=(0.5, 0.999), eps=1e-4)
        for role, weights in start.items()
    }
    for step in range(3):
        parts = batches_of(config, step)
        image, pair = (torch.cat([part.columns[n] for part in parts]) for n in ("image", "pair"))
        given, target = (image, pair) if config.direction == "AtoB" else (pair, image)
        numbers = torch.cat([part.numbers for part in parts if part.numbers is not None])
        fake = unet(generator, given, mask_of(config, numbers, dropout))

        def seen(made: Tensor, given: Tensor = given) -> Tensor:
            return torch.cat([given, made], 1) if config.see_input else made

        loss = 100 * (target - fake).abs().mean()
        if discriminator:
            real = criterion(patches(discriminator, seen(target)), 1.0)
            false = criterion(patches(discriminator, seen(fake.detach())), 0.0)
            adams["discriminator"].zero_grad()
            ((real + false) / 2).backward()
            adams["discriminator"].step()
            loss = loss + criterion(patches(discriminator, seen(fake)), 1.0)
        adams["generator"].zero_grad()
        loss.backward()
        adams["generator"].step()
    return start


CASES: dict[str, dict[str, Any]] = {
    "as published": {"loss": "non-saturating"},
    "least squares, output alone": {
        "loss": "least-squares",
        "see_input": False,
        "generator.network.dropout": 0,
    },
    "in parts, the other way": {
        "accumulate": 2,
        "direction": "BtoA",
        "generator.network.norm": "instance",
        "discriminator.network.norm": "instance",
    },
    "least squares in parts": {
        "loss": "least-squares",
        "accumulate": 2,
        "generator.network.norm": "instance",
        "discriminator.network.norm": "instance",
    },
    "without a discriminator": {"adversarial": 0},
}


@pytest.mark.parametrize("case", CASES)
def test_three_updates_are_those_of_the_published_algorithm(case: str) -> None:
    config: Any = config_of(**CASES[case])
    state = TrainingState(config, DATA, World())
    start = {role: own(state, role) for role in state.networks}
    before = {
        role: {n: w.detach().clone() for n, w in each.items()} for role, each in start.items()
    }
    expected = published(config, start, config.generator.network.dropout)
    for step in range(3):
        state.step(batches_of(config, step))
    assert set(start) == ({"generator"} if "without" in case else {"generator", "discriminator"})
    for role, weights in expected.items():
        for name, found in state.networks[role].network.named_parameters():
            apart = (found - weights[name]).norm() / weights[name].norm().clamp_min(1e-3)
            assert apart < 1e-10, (role, name)
        moved = [(weights[name] - before[role][name]).norm() for name in weights]
        assert max(moved) > 1e-4


def test_the_terms_are_recorded_as_they_are_minimised() -> None:
    """L1 with its weight; without a discriminator nothing else."""
    config = config_of(adversarial=0, l1=7, **{"generator.network.dropout": 0})
    state = TrainingState(config, DATA, World())
    weights = own(state, "generator")
    (batch,) = batches_of(config, 0)
    state.step([batch])
    fake = unet(weights, batch.columns["image"], 1.0)
    expected = 7 * (fake - batch.columns["pair"]).abs().mean()
    assert state.statistics.means(World())["g_l1"] == pytest.approx(expected.item(), rel=1e-6)
    assert set(state.family.statistics) == {"g_l1"}


def edges_of(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The rule pixel by pixel: (h, w) in [0, 1] -> bool (h, w)."""
    height, width = image.shape

    def at(y: int, x: int) -> float:
        return float(image[min(max(y, 0), height - 1), min(max(x, 0), width - 1)])

    across, down = np.zeros((2, height, width))
    for y in range(height):
        for x in range(width):
            for off, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
                across[y, x] += weight * (at(y + off, x + 1) - at(y + off, x - 1)) / 2
                down[y, x] += weight * (at(y + 1, x + off) - at(y - 1, x + off)) / 2
    steep = np.pad(across**2 + down**2, 1)
    found = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            here = steep[y + 1, x + 1]
            beside = (steep[y + 1, x], steep[y + 1, x + 2])
            if abs(across[y, x]) < abs(down[y, x]):
                beside = (steep[y, x + 1], steep[y + 2, x + 1])
            found[y, x] = here >= beside[0] and here > beside[1] and here >= 0.25**2
    return found


def test_edges_are_those_of_a_program_over_pixels() -> None:
    random = np.random.default_rng(0)
    # Smooth, with plateaus and lines of equal steepness.
    images = np.repeat(np.repeat(random.integers(0, 5, (6, 7, 9)), 2, 1), 2, 2) / 4
    images += np.round(random.random(images.shape) * 8) / 64
    found = edges(torch.from_numpy(images)[:, None] * 2 - 1)
    assert set(found.unique().tolist()) == {-1.0, 1.0}
    for image, each in zip(images, found, strict=True):
        assert np.array_equal(edges_of(image), each[0].numpy() > 0)


def test_gray_is_pillows() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    ours = gray(torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 127.5 - 1)
    luma = np.asarray(Image.fromarray(pixels).convert("L"), dtype=float)
    assert np.abs((ours[0, 0].numpy() + 1) * 127.5 - luma).max() < 0.51
    one = torch.rand(2, 1, 4, 4)
    assert torch.equal(gray(one), one)


def test_small_is_the_mean_of_squares() -> None:
    images = torch.rand(3, 2, 12, 8, dtype=torch.float64)
    for scale in (2, 4):
        blocks = images.view(3, 2, 12 // scale, scale, 8 // scale, scale)
        torch.testing.assert_close(small(images, scale), blocks.mean((3, 5)))


@pytest.mark.parametrize("task", TASKS)
def test_an_input_has_the_same_bits_in_any_batch(task: str) -> None:
    random = torch.Generator().manual_seed(2)
    images = torch.randint(256, (70, 3, 20, 24), generator=random).float().mul_(2 / 255).sub_(1)
    make = TASKS[task].make
    whole = make(images, 4)
    assert tuple(whole.shape[1:]) == TASKS[task].shape(ImageShape(3, 20, 24), 4)
    for size in (1, 3, 7, 33):
        parts = [make(part, 4) for part in images.split(size)]
        assert torch.equal(torch.cat(parts), whole)
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(make(last, 4), whole)


@pytest.mark.parametrize(
    ("changes", "image", "message"),
    [
        ({"task": "pairs"}, COLOUR, "holds no pairs"),
        ({"task": "gray"}, PLAIN, "--task gray: the images have no colours"),
        ({"task": "small"}, ImageShape(3, 30, 30), "--scale 4: does not divide the sides of 30x30"),
    ],
)
def test_data_without_a_side_is_refused(
    changes: dict[str, Any], image: ImageShape, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build(config_of(**changes), DataSpec(image)).check_data()


def test_nothing_to_minimise_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is minimised"):
        config_of(adversarial=0, l1=0)


def test_a_step_makes_its_inputs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Tensor] = []

    def make(images: Tensor, scale: int) -> Tensor:
        made.append(images)
        return gray(images)

    monkeypatch.setitem(TASKS, "gray", replace(TASKS["gray"], make=make))
    config = config_of(task="gray")
    state = TrainingState(config, DATA, World())
    for number in range(2):
        state.step(batches_of(config, number))
    assert len(made) == 2
    assert not torch.equal(*made)


@pytest.mark.parametrize("reverse", [False, True])
def test_many_large_images_are_translated_in_blocks(
    reverse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(recipe("edges2digits-cyclegan"), {"generator.network.width": 2})
    family: Any = build(config, DataSpec(PLAIN))
    networks = {role: network.module.eval() for role, network in family.networks().items()}
    images = torch.rand(5, *PLAIN) * 2 - 1
    sizes: list[int] = []
    network = networks["generator_ba" if reverse else "generator_ab"]
    network.register_forward_hook(lambda module, given, made: sizes.append(len(made)))
    with torch.no_grad():
        whole = family.translate(networks, images, reverse)
        monkeypatch.setattr(translation, "_MOST_PIXELS", 2 * 64 * 64 + 1)
        parts = family.translate(networks, images, reverse)
    assert sizes == [5, 2, 2, 1]
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


def test_without_a_discriminator_its_settings_do_nothing() -> None:
    config = config_of(adversarial=0)
    for name in ("loss", "see_input", "discriminator.penalty.r1", "discriminator.network.width"):
        assert name in dict(config.idle())
        assert name not in dict(config_of().idle())
    lr = "discriminator.optimizer.lr"
    assert (lr in config.search_space(), lr in config_of().search_space()) == (False, True)
    with pytest.raises(UserError, match=r"--health.change double-r1: without a discriminator"):
        config_of(adversarial=0, **{"health.change": "double-r1"})


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("task", ["pairs", "gray"])
def test_the_direction_swaps_the_sides(direction: str, task: str) -> None:
    """A is the stored image and B its pair; of a task A is what it makes, and B the image."""
    family: Any = build(config_of(task=task, direction=direction), DATA)
    images, pairs = torch.rand(2, *COLOUR) * 2 - 1, torch.rand(2, *PLAIN)
    batch = Batch({"image": images, "pair": pairs}, {})
    sides = [images, pairs] if task == "pairs" else [gray(images), images]
    given, target = sides if direction == "AtoB" else sides[::-1]
    found = family.sides(batch)
    assert torch.equal(found.input, given)
    assert torch.equal(found.target, target)
    assert family.input_shape == given.shape[1:]
    assert family.output_shape == target.shape[1:]


def test_a_sheet_shows_inputs_outputs_and_targets() -> None:
    """In rows of ten, and what is gray beside what is in colours."""
    state = TrainingState(config_of(task="gray", precision="float32"), DATA, World())
    images = torch.rand(10, *COLOUR) * 2 - 1
    with state.generating() as networks, torch.no_grad():
        found, columns = state.family.sheet(networks, 0, Batch({"image": images}, {}))
        made = networks["generator"](gray(images))
    assert (len(found), columns) == (30, 10)
    assert torch.equal(found[:10], gray(images).expand(-1, 3, -1, -1))
    assert torch.equal(found[10:20], made)
    assert torch.equal(found[20:], images)
