"""The normalisations that networks of image translation let one choose."""

from __future__ import annotations

from math import gcd
from typing import Literal

from torch import nn

Norm = Literal["batch", "instance", "group", "none"]
"""batch: Ioffe and Szegedy (2015), with gain and bias. instance: Ulyanov et al., "Instance
Normalization" (2016), without either and without running statistics, as CycleGAN has it. group:
Wu and He, "Group Normalization" (2018), 32 groups or as many of them as divide the channels."""


def normalisation(norm: Norm, features: int, dimensions: int = 2) -> nn.Module:
    """A layer that maps float (n, features, h, w) to the same shape.

    Args:
        dimensions: 3 for one of clips, float (n, features, frames, h, w).
    """
    if norm == "batch":
        return (nn.BatchNorm3d if dimensions == 3 else nn.BatchNorm2d)(features)
    if norm == "instance":
        return (nn.InstanceNorm3d if dimensions == 3 else nn.InstanceNorm2d)(features)
    return nn.GroupNorm(gcd(32, features), features) if norm == "group" else nn.Identity()


def needs_bias(norm: Norm) -> bool:
    """Whether the convolutions of a network have a bias: where its norm has none of its own.

    The published code asks for one under instance norm, although its effect is subtracted again,
    and the published parameter counts include it.
    """
    return norm in ("instance", "none")


def activation(norm: Norm) -> nn.Module:
    """The ReLU that follows a norm.

    In place where a norm has made the maps: its backward does not need its output. Without one
    they may be features that something else looks at.
    """
    return nn.ReLU(inplace=norm != "none")
