"""Networks of image translation for tests, small and with weights that all show."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distgan.networks import PATCH_DISCRIMINATORS, TRANSLATORS, ImageShape

NORMS = ("batch", "instance", "group", "none")


def square(channels: int, side: int) -> ImageShape:
    return ImageShape(channels, side, side)


def translator(name: str, image: ImageShape, output: ImageShape, **changes: Any) -> nn.Module:
    return TRANSLATORS[name](**changes).build(image, output)


def judge(name: str, image: ImageShape, **changes: Any) -> nn.Module:
    return PATCH_DISCRIMINATORS[name](**changes).build(image)


def shaken(network: nn.Module) -> nn.Module:
    """In float64, with weights, gains and biases that all show in what it computes."""
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            scale = (2 / parameter[0].numel()) ** 0.5 if parameter.dim() == 4 else 0.3
            parameter.normal_(float(parameter.dim() == 1) * 0.5, scale)
    return network


def pixels(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64) * 2 - 1
