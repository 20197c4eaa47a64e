"""The convolutional pair of Radford et al., "Unsupervised Representation Learning with
Deep Convolutional Generative Adversarial Networks" (ICLR 2016), for any size its strides allow."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.data.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.base import ConcatLabel
from distgan.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANGeneratorSettings:
    """Transposed convolutions of stride 2 from a small seed image."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp or dcgan."""
    width: PositiveInt = 64
    """Channels at the last hidden layer; doubled at each layer towards the latent."""
    embedding: PositiveInt = 10
    """Length of the label embedding e in [z; e] of a conditional generator."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `distgan.networks.base.GeneratorSettings.build`."""
        return DCGANGenerator(image, latent, classes, self.width, self.embedding)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANDiscriminatorSettings:
    """Convolutions of stride 2 down to a small image, then one logit."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp or dcgan."""
    width: PositiveInt = 64
    """Channels of the first layer; doubled at each further layer."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """See `distgan.networks.base.DiscriminatorSettings.build`."""
        return DCGANDiscriminator(image, classes, self.width)


def halvings(image: ImageShape) -> int:
    """How many strides of 2 lead to the seed image: until a side is odd or below 8.

    28x28 -> 2 (7x7), 32x32 -> 3 (4x4), 64x64 -> 4 (4x4).

    Raises:
        UserError: for an image that cannot be halved once.
    """
    height, width, count = image.height, image.width, 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, count = height // 2, width // 2, count + 1
    if count == 0:
        raise UserError(
            f"--generator.network.name dcgan: needs images with even sides of at least 8, "
            f"these are {image.height}x{image.width}; resize them or use the network mlp"
        )
    return count


def _initialise(module: nn.Module) -> None:
    """Radford et al., section 4: weights from N(0, 0.02); BatchNorm scales around 1."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)


class DCGANGenerator(nn.Module):
    """z, or [z; e], to a seed image, then BatchNorm, ReLU and doubling until full size; tanh."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, width: int, embedding: int
    ) -> None:
        super().__init__()
        steps = halvings(image)
        seed = (image.height >> steps, image.width >> steps)
        channels = [width << power for power in reversed(range(steps))]
        self.input = ConcatLabel(latent, classes, embedding)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(self.input.width, channels[0], seed, bias=False)
        ]
        for inputs, outputs in pairwise(channels):
            layers += [nn.BatchNorm2d(inputs), nn.ReLU()]
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.ConvTranspose2d(width, image.channels, 4, 2, 1))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w) in [-1, 1]."""
        images: Tensor = self.layers(self.input(z, labels)[:, :, None, None])
        return images


class DCGANDiscriminator(nn.Module):
    """Halving convolutions with BatchNorm (none on the first) and LeakyReLU 0.2.

    A conditional discriminator sees the label as one more image plane, embedded.
    """

    def __init__(self, image: ImageShape, classes: int, width: int) -> None:
        super().__init__()
        steps = halvings(image)
        self.image = image
        self.embed = nn.Embedding(classes, image.height * image.width) if classes else None
        channels = image.channels + (1 if classes else 0)
        layers: list[nn.Module] = []
        for step in range(steps):
            outputs = width << step
            layers.append(nn.Conv2d(channels, outputs, 4, 2, 1, bias=step == 0))
            if step > 0:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2))
            channels = outputs
        seed = (image.height >> steps, image.width >> steps)
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, seed))
        _initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> logits, float (n,)."""
        if self.embed is not None:
            plane = self.embed(labels).unflatten(1, (1, self.image.height, self.image.width))
            images = torch.cat([images, plane], dim=1)
        logits: Tensor = self.layers(images)
        return logits.flatten()
