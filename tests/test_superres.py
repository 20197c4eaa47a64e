"""Images made larger: three updates against the algorithm written out, and what is shown."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from distgan import UserError
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.families import Batch, DataSpec
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

IMAGE = ImageShape(3, 16, 16)
RATES = {"generator": 1e-3, "discriminator": 2e-4}
SMALL = {
    "precision": "float64",
    "batch": 4,
    "scale": 2,
    "generator.network.width": 3,
    "generator.network.blocks": 1,
    "generator.optimizer.lr": RATES["generator"],
    "generator.ema.half_life": 0,
    "discriminator.network.width": 3,
    "discriminator.network.layers": 1,
    "discriminator.network.norm": "none",
    "discriminator.optimizer.lr": RATES["discriminator"],
}
Weights = dict[str, Tensor]


def config_of(**changes: Any) -> RunConfig:
    return override(recipe("cifar10-superres"), {**SMALL, **changes})


def images_of(step: int) -> Tensor:
    random = torch.Generator().manual_seed(step)
    return torch.rand(4, *IMAGE, generator=random, dtype=torch.float64) * 2 - 1


def batches_of(config: RunConfig, step: int) -> list[Batch]:
    return [
        Batch({"image": part}, {}, 1.0, torch.arange(len(part)))
        for part in images_of(step).split(config.micro_batch)
    ]


# The algorithm of Ledig et al. 2017 by torch's functions alone. Weights go by the names that the
# project's networks give them, as both have to start from the same.


def convolved(weights: Weights, name: str, maps: Tensor, stride: int = 1) -> Tensor:
    bias = weights[f"{name}.bias"]
    return functional.conv2d(maps, weights[f"{name}.weight"], bias, stride, padding=1)


def rectified(maps: Tensor, slope: float = 0.0) -> Tensor:
    return torch.where(maps > 0, maps, slope * maps)


def doubled(maps: Tensor) -> Tensor:
    """Four channels become one of twice the sides: (n, 4 c, h, w) -> (n, c, 2 h, 2 w)."""
    rows, channels, height, width = maps.shape
    parts = maps.view(rows, channels // 4, 2, 2, height, width)
    return parts.permute(0, 1, 4, 2, 5, 3).reshape(rows, channels // 4, 2 * height, 2 * width)


def generated(weights: Weights, images: Tensor) -> Tensor:
    maps = rectified(convolved(weights, "layers.0", images), 0.1)
    inner = rectified(convolved(weights, "layers.2.layers.0", maps))
    maps = maps + convolved(weights, "layers.2.layers.3", inner)
    maps = rectified(doubled(convolved(weights, "layers.3", maps)), 0.1)
    maps = rectified(convolved(weights, "layers.6", maps), 0.1)
    large = functional.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)
    return large + convolved(weights, "layers.8", maps)


def judged(weights: Weights, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits of patches, and hidden features."""
    first = rectified(convolved(weights, "hidden.0.0", images, stride=2), 0.2)
    second = rectified(convolved(weights, "hidden.1.0", first), 0.2)
    return convolved(weights, "last", second), [first, second]


def published(config: Any, start: dict[str, Weights]) -> None:
    """Three updates of both networks."""
    generator, discriminator = start["generator"], start.get("discriminator", {})
    adams = {
        role: torch.optim.Adam(weights.values(), lr=RATES[role], betas=(0.5, 0.999))
        for role, weights in start.items()
    }
    for step in range(3):
        target = images_of(step)
        given = target.view(4, 3, 8, 2, 8, 2).mean((3, 5))
        fake = generated(generator, given)
        loss = config.l1.at(0) * (fake - target).abs().mean()
        loss = loss + config.l2.at(0) * ((fake - target) ** 2).mean()
        if discriminator:
            large = functional.interpolate(given, (16, 16), mode="bicubic", antialias=True)
            beside = [large.clamp(-1, 1)] if config.see_input else []

            def seen(made: Tensor, beside: list[Tensor] = beside) -> Tensor:
                return torch.cat([*beside, made], 1)

            real, false = (judged(discriminator, seen(x))[0] for x in (target, fake.detach()))
            adams["discriminator"].zero_grad()
            wrong = (1 + (-real).exp()).log().mean() + (1 + false.exp()).log().mean()
            (wrong / 2).backward()
            adams["discriminator"].step()
            logits, features = judged(discriminator, seen(fake))
            loss = loss + config.adversarial.at(4 * step) * (1 + (-logits).exp()).log().mean()
            wanted = judged(discriminator, seen(target))[1]
            for one, other in zip(features, wanted, strict=True):
                loss = loss + config.features.at(0) * (one - other.detach()).abs().mean()
        adams["generator"].zero_grad()
        loss.backward()
        adams["generator"].step()


CASES: dict[str, dict[str, Any]] = {
    "as published, with a warm-up": {"l1": 0, "l2": 1, "adversarial": "0:0.1:4-8:linear"},
    "features, the input seen": {"features": 2, "see_input": True, "adversarial": 0.01},
    "features alone, in parts": {"features": 1, "l1": 0, "adversarial": 0, "accumulate": 2},
    "SRResNet": {"adversarial": 0},
}


@pytest.mark.parametrize("case", CASES)
def test_three_updates_are_those_of_the_published_algorithm(case: str) -> None:
    config: Any = config_of(**CASES[case])
    state = TrainingState(config, DataSpec(IMAGE), World())
    start = {
        role: {
            name: weight.detach().clone().requires_grad_()
            for name, weight in net.network.named_parameters()
        }
        for role, net in state.networks.items()
    }
    assert set(start) == ({"generator"} if case == "SRResNet" else {"generator", "discriminator"})
    published(config, start)
    for step in range(3):
        before = [weight.detach().clone() for weight in state.networks["generator"].parameters]
        state.step(batches_of(config, step))
        assert not torch.equal(before[0], state.networks["generator"].parameters[0])
    for role, weights in start.items():
        for name, found in state.networks[role].network.named_parameters():
            assert (found - weights[name]).norm() < 1e-10 * weights[name].norm(), (role, name)


def test_nothing_to_minimise_is_refused() -> None:
    with pytest.raises(UserError, match=r"--l1 0: .*nothing is minimised"):
        config_of(adversarial=0, l1=0)


def test_a_sheet_shows_what_bicubic_makes_of_the_inputs() -> None:
    """As Pillow enlarges images."""
    import numpy as np
    from PIL import Image

    state = TrainingState(config_of(precision="float32"), DataSpec(IMAGE), World())
    shown = Batch({"image": images_of(0).float()[:, :1].repeat(3, 3, 1, 1)[:10]}, {})
    family: Any = state.family
    with state.generating() as networks, torch.no_grad():
        found, columns = family.sheet(networks, 0, shown)
        given = family.example(shown)[0]
        made = networks["generator"](given)
    assert family.sheet_rows == ("input", "bicubic", "output", "target")
    inputs, bicubic, outputs, targets = found.split(columns)
    assert torch.equal(inputs[:, :, ::2, ::2], given)
    for small, large in zip(given, bicubic, strict=True):
        pillow = Image.fromarray(small[0].numpy()).resize((16, 16), Image.Resampling.BICUBIC)
        assert np.abs(np.asarray(pillow).clip(-1, 1) - large[0].numpy()).max() < 1e-5
    assert torch.equal(outputs, made)
    assert torch.equal(targets, shown.columns["image"])
