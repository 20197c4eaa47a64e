"""What `distgan plan` expects of bf16 is what runs in bf16."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.plan import Work, trace
from distgan.plan.batches import random_batches
from distgan.plan.devices import GPUS, expected, sustained
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from .kept_quick import slow_but

IMAGE, CLASSES, IMAGES = ImageShape(3, 32, 32), 10, 4
NONE = {"discriminator.augment.name": "none"}
"""Augmentations multiply matrices too, in float32 and of next to no size."""
ROLES = ("generator", "discriminator")
HALF = {f"{role}.network.bf16_from": 8 for role in ROLES}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "no penalty": ("cifar10-dcgan-tiny", {}),
    "penalties": ("cifar10-r3gan-tiny", NONE),
    "penalties, micro-batches": ("cifar10-r3gan-tiny", {**NONE, "accumulate": 2}),
    "between reals and fakes": (
        "cifar10-sngan-tiny",
        {"discriminator.penalty.wgan_gp": 10, "discriminator.updates": 1},
    ),
    "stages in bfloat16": ("cifar10-r3gan-tiny", {**NONE, **HALF}),
    "stages in bfloat16, float32": (
        "cifar10-r3gan-tiny",
        {**NONE, **HALF, "precision": "float32"},
    ),
    "shared fakes": ("mnist-mlp-tutorial", {"share_fakes": True, "discriminator.penalty.r1": 1}),
}


class Types(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of convolutions and products by the type they run in."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[torch.dtype, float] = defaultdict(float)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        packet = function.overloadpacket
        if packet is torch.ops.aten.convolution_backward:
            places = args[1] if args[7] else args[0]
            each = 2 * places.numel() * args[2][0].numel()
            self.found[args[0].dtype] += each * sum(args[10][:2])
        elif packet in flop_registry:
            flops = flop_registry[packet](*args, **(kwargs or {}), out_val=result)
            self.found[args[0].dtype] += flops
        return result


def configured(name: str) -> RunConfig:
    base, changes = CASES[name]
    return override(recipe(base), {"precision": "bf16", **changes})


def traced(config: RunConfig) -> Work:
    return trace(config, DataSpec.numbered(IMAGE, CLASSES))


@pytest.mark.parametrize(
    "name", slow_but(CASES, "no penalty", "penalties", "stages in bfloat16", "shared fakes")
)
def test_what_stays_in_float32_is_what_does_on_a_processor(name: str) -> None:
    config, work = configured(name), traced(configured(name))
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
    images = IMAGES * config.accumulate
    with Types() as ran:
        state.step(random_batches(config, state.family, IMAGES, torch.device("cpu")))
    exact = sum(
        part.of(images)
        for update in work.updates
        for part in (update.exact_convolutions, update.exact_products)
    )
    whole = work.flops(images)
    assert sum(ran.found.values()) == pytest.approx(whole, rel=0.01)
    half = sum(
        part.of(images)
        for update in work.updates
        for part in (update.half_convolutions, update.half_products)
    )
    if config.precision == "float32":
        exact = whole - half
    assert ran.found[torch.float32] / whole == pytest.approx(exact / whole, abs=0.005)
    assert (exact > 0) == (name != "no penalty")
    assert (half > 0) == ("stages" in name)


def test_stages_in_bfloat16_save_their_share_of_the_time() -> None:
    h100 = GPUS["h100"]
    worth = sustained(h100, "bf16") / sustained(h100, "float32")
    same = {f"{role}.network.widths": "32,32,32,32" for role in ROLES}
    plain, low = (
        override(recipe("cifar10-r3gan-tiny"), {**NONE, **same, **sides})
        for sides in ({f"{role}.network.bf16_from": n for role in ROLES} for n in (0, 8))
    )
    before, after = (expected(h100, traced(config), config).per_image for config in (plain, low))
    # Stages of one width: each side of 4, 8, 16, 32 costs four times as much as the one before.
    share = 1 - 16 / (16 + 64 + 256 + 1024)
    assert after / before == pytest.approx(1 - share + share / worth, rel=0.01)


@pytest.mark.slow
def test_bf16_is_worth_less_where_gradients_are_penalised() -> None:
    h100 = GPUS["h100"]
    worth = sustained(h100, "bf16") / sustained(h100, "float32")

    def gain(name: str, **changes: Any) -> float:
        seconds = []
        for precision in ("float32", "bf16"):
            config = override(recipe(name), {"precision": precision, **changes})
            seconds.append(expected(h100, traced(config), config).per_image)
        return seconds[0] / seconds[1]

    assert gain("cifar10-dcgan") == pytest.approx(worth, rel=0.01)
    # Nearly two thirds of R3GAN's operations are in its discriminator's update, whose penalties
    # are always due; the test above says how many exactly.
    whole = {f"{role}.network.bf16_from": 0 for role in ROLES}
    assert gain("cifar10-r3gan", **whole) == pytest.approx(1 / (0.63 + 0.37 / worth), rel=0.02)
    penalty = {"discriminator.penalty.r1": 1.0}
    lazily = gain("cifar10-dcgan", **penalty, **{"discriminator.penalty.every": 16 * 128})
    assert gain("cifar10-dcgan", **penalty) < lazily < worth
