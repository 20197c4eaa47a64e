"""The residual pair of Miyato et al., "Spectral Normalization for Generative Adversarial
Networks" (2018), with the sizes that the library mimicry trains (Lee and Town, "Mimicry:
Towards the Reproducibility of GAN Research", 2020), and the self-attention of SAGAN.

The discriminator has no batch statistics: reals and fakes may go through it together.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.attention import SelfAttention
from distgan.networks.base import (
    ConcatLabel,
    DiscriminatorConditioning,
    GeneratorConditioning,
    LabelPlane,
    batch_norm,
    halvings,
    logit_count,
    projection,
    run,
    to_logits,
)
from distgan.networks.resample import double
from distgan.networks.spectral import spectral_norm


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SNGANGeneratorSettings:
    """Residual blocks that double a seed image."""

    name: Literal["sngan"] = "sngan"
    """Network: mlp, dcgan, sngan or r3gan."""
    width: Annotated[int, Field(ge=0, le=2**16)] = 0
    """Channels of the widest layer; 0 as published: 256 up to 32 pixels, 1024 above."""
    attention: NonNegativeInt = 0
    """Side of the feature map that gets self-attention, as in SAGAN; 0 for none."""
    spectral_norm: bool = False
    """Normalise every weight of convolutions and linear layers, as SAGAN does in G too."""
    embedding: Width = 10
    """Length of the label embedding e in [z; e] of conditioning concat."""
    conditioning: GeneratorConditioning = "batchnorm"
    """Use of the label: concat or batchnorm."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `distgan.networks.base.GeneratorSettings.build`."""
        return SNGANGenerator(image, latent, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SNGANDiscriminatorSettings:
    """Residual blocks with spectral normalisation, summed over the last map."""

    name: Literal["sngan"] = "sngan"
    """Network: mlp, dcgan, sngan or r3gan."""
    width: Annotated[int, Field(ge=0, le=2**16)] = 0
    """Channels of the widest layer; 0 as published: 128 up to 32 pixels, 1024 above."""
    attention: NonNegativeInt = 0
    """Side of the feature map that gets self-attention, as in SAGAN; 0 for none."""
    spectral_norm: bool = True
    """Normalise every weight."""
    conditioning: DiscriminatorConditioning = "projection"
    """Use of the label: concat, projection or auxiliary."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """See `distgan.networks.base.DiscriminatorSettings.build`."""
        return SNGANDiscriminator(image, classes, self)


def _small(image: ImageShape) -> bool:
    # Published networks have one width at 32x32, and decreasing widths from 48x48 on.
    return min(image.height, image.width) <= 32


def generator_channels(image: ImageShape, width: int) -> list[int]:
    """Channels of the seed and after each doubling.

    32x32: 256 throughout. 48x48: 512 to 64. 64x64: 1024 to 64. 128x128: twice 1024, to 64.
    """
    steps = halvings(image, "sngan")
    if _small(image):
        return [width or 256] * (steps + 1)
    widest = width or 1024
    return [min(max(1, widest // 16) << step, widest) for step in reversed(range(steps + 1))]


def discriminator_plan(image: ImageShape, width: int) -> list[tuple[int, bool]]:
    """Channels of each block, and whether it halves the image.

    32x32: four of 128, halved twice. 48x48 and 64x64: 64 to 1024. 128x128: the same and
    1024 again. Above 32 pixels there are at least five halvings or as many as go evenly,
    and a block that does not halve unless that left a side of 2.
    """
    halvings(image, "sngan", "discriminator")
    sides, steps = [image.height, image.width], 0
    while all(each % 2 == 0 for each in sides) and (
        steps < 2 if _small(image) else steps < 5 or min(sides) > 4
    ):
        sides, steps = [each // 2 for each in sides], steps + 1
    if _small(image):
        return [(width or 128, step < steps) for step in range(4)]
    widest = width or 1024
    blocks = steps + (min(sides) > 2)
    return [(min(max(1, widest // 16) << n, widest), n < steps) for n in range(blocks)]


def _xavier(layer: nn.Conv2d | nn.Linear, gain: float, normalise: bool) -> nn.Module:
    nn.init.xavier_uniform_(layer.weight, gain)
    return spectral_norm(layer) if normalise else layer


def _convolution(inputs: int, outputs: int, size: int, gain: float, normalise: bool) -> nn.Module:
    return _xavier(nn.Conv2d(inputs, outputs, size, padding=size // 2), gain, normalise)


def _check_attention(player: str, wanted: int, sides: list[int]) -> None:
    if wanted and wanted not in sides:
        known = ", ".join(map(str, dict.fromkeys(sides)))
        raise UserError(
            f"--{player}.network.attention {wanted}: no feature map has this side; have {known}"
        )


class GeneratorBlock(nn.Module):
    """BatchNorm, ReLU, doubling, 3x3, BatchNorm, ReLU, 3x3; the shortcut is doubling and a 1x1."""

    def __init__(
        self, inputs: int, outputs: int, classes: int, settings: SNGANGeneratorSettings
    ) -> None:
        super().__init__()
        kind, normalise = settings.conditioning, settings.spectral_norm
        self.norm1 = batch_norm(inputs, classes, kind)
        self.conv1 = _convolution(inputs, outputs, 3, sqrt(2), normalise)
        self.norm2 = batch_norm(outputs, classes, kind)
        self.conv2 = _convolution(outputs, outputs, 3, sqrt(2), normalise)
        self.shortcut = _convolution(inputs, outputs, 1, 1.0, normalise)
        # In place: the backward of a batch norm does not need its output.
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor, labels: Tensor | None) -> Tensor:
        """float (n, inputs, h, w) -> float (n, outputs, 2h, 2w)."""
        # Bilinear as in mimicry; the paper uses nearest neighbours.
        hidden = double(self.activation(run(self.norm1, maps, labels)))
        hidden = self.activation(run(self.norm2, self.conv1(hidden), labels))
        # A 1x1 convolution and interpolation commute; this order takes a quarter of the work.
        result: Tensor = self.conv2(hidden) + double(self.shortcut(maps))
        return result


class SNGANGenerator(nn.Module):
    """z to a seed image, residual blocks until full size, BatchNorm, ReLU, 3x3, tanh."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, settings: SNGANGeneratorSettings
    ) -> None:
        super().__init__()
        kind, normalise = settings.conditioning, settings.spectral_norm
        channels = generator_channels(image, settings.width)
        steps = len(channels) - 1
        seed = (image.height >> steps, image.width >> steps)
        self.shape = (channels[0], *seed)
        self.input = ConcatLabel(latent, classes if kind == "concat" else 0, settings.embedding)
        first = nn.Linear(self.input.width, channels[0] * seed[0] * seed[1])
        self.first = _xavier(first, 1.0, normalise)
        sides = [min(seed) << step for step in range(1, steps + 1)]
        _check_attention("generator", settings.attention, sides)
        layers: list[nn.Module] = []
        for side, (inputs, outputs) in zip(sides, pairwise(channels), strict=True):
            layers.append(GeneratorBlock(inputs, outputs, classes, settings))
            if side == settings.attention:
                layers.append(SelfAttention(outputs, normalise))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.BatchNorm2d(channels[-1])
        self.activation = nn.ReLU(inplace=True)
        self.last = _convolution(channels[-1], image.channels, 3, 1.0, normalise)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w) in [-1, 1]."""
        maps = self.first(self.input(z, labels)).unflatten(1, self.shape)
        for layer in self.layers:
            maps = layer(maps, labels) if isinstance(layer, GeneratorBlock) else layer(maps)
        return torch.tanh(self.last(self.activation(self.norm(maps))))


class DiscriminatorBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, perhaps halving; the shortcut is a 1x1 where the shape changes.

    The first block of a network takes pixels: it has no first ReLU, its inner width is that of
    its output, and its shortcut halves before the 1x1.
    """

    def __init__(
        self, inputs: int, outputs: int, halve: bool, first: bool, normalise: bool
    ) -> None:
        super().__init__()
        self.halve = halve
        hidden = outputs if first else inputs
        self.conv1 = _convolution(inputs, hidden, 3, sqrt(2), normalise)
        self.conv2 = _convolution(hidden, outputs, 3, sqrt(2), normalise)
        self.shortcut = (
            _convolution(inputs, outputs, 1, 1.0, normalise)
            if halve or inputs != outputs
            else nn.Identity()
        )
        # Not in place: the shortcut needs the input unchanged.
        self.before = nn.Identity() if first else nn.ReLU()
        self.activation = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, inputs, h, w) -> float (n, outputs, h, w), or half the sides."""
        hidden = self.conv2(self.activation(self.conv1(self.before(maps))))
        if self.halve:
            # Averaging and a 1x1 convolution commute; this order takes a quarter of the work.
            hidden, maps = functional.avg_pool2d(hidden, 2), functional.avg_pool2d(maps, 2)
        result: Tensor = hidden + self.shortcut(maps)
        return result


class SNGANDiscriminator(nn.Module):
    """Residual blocks, ReLU, the sum over the map, and a linear layer."""

    def __init__(
        self, image: ImageShape, classes: int, settings: SNGANDiscriminatorSettings
    ) -> None:
        super().__init__()
        kind, normalise = settings.conditioning, settings.spectral_norm
        self.embed = LabelPlane(image, classes) if classes and kind == "concat" else None
        plan = discriminator_plan(image, settings.width)
        channels, side = image.channels + (self.embed is not None), min(image[1:])
        sides: list[int] = []
        layers: list[nn.Module] = []
        for number, (outputs, halve) in enumerate(plan):
            layers.append(DiscriminatorBlock(channels, outputs, halve, number == 0, normalise))
            channels, side = outputs, side // 2 if halve else side
            if side == settings.attention and side not in sides:
                layers.append(SelfAttention(channels, normalise))
            sides.append(side)
        _check_attention("discriminator", settings.attention, sides)
        self.layers = nn.Sequential(*layers, nn.ReLU(inplace=True))
        self.depth = len(plan)
        last = nn.Linear(channels, logit_count(classes, kind))
        self.last = _xavier(last, 1.0, normalise)
        self.projection = projection(channels, classes, kind)
        if self.projection is not None and normalise:
            spectral_norm(self.projection.embed)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> logits, float (n,) or
        (n, 1 + classes)."""
        return self.with_features(images, labels, self.depth)[0]

    def with_features(
        self, images: Tensor, labels: Tensor | None, layer: int
    ) -> tuple[Tensor, Tensor]:
        """See `FeatureDiscriminator.with_features`; attention belongs to the block before it."""
        if self.embed is not None:
            images = torch.cat([images, self.embed(labels)], dim=1)
        # Where the next block begins; the last ReLU, which is in place, is the last block's.
        blocks = [n for n, each in enumerate(self.layers) if isinstance(each, DiscriminatorBlock)]
        end = [*blocks[1:], len(self.layers)][layer - 1]
        found = self.layers[:end](images)
        features = self.layers[end:](found).sum((2, 3))
        return to_logits(self.last(features), features, labels, self.projection), found
