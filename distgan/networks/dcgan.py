"""The convolutional pair of Radford et al., "Unsupervised Representation Learning with
Deep Convolutional Generative Adversarial Networks" (ICLR 2016), for any size its strides allow."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
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


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANGeneratorSettings:
    """Transposed convolutions of stride 2 from a small seed image."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp, dcgan, sngan or r3gan."""
    width: Width = 64
    """Channels at the last hidden layer; doubled at each layer towards the latent."""
    embedding: Width = 10
    """Length of the label embedding e in [z; e] of conditioning concat."""
    conditioning: GeneratorConditioning = "concat"
    """Use of the label: concat or batchnorm."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `distgan.networks.base.GeneratorSettings.build`."""
        return DCGANGenerator(image, latent, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANDiscriminatorSettings:
    """Convolutions of stride 2 down to a small image, then one logit."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp, dcgan, sngan or r3gan."""
    width: Width = 64
    """Channels of the first layer; doubled at each further layer."""
    conditioning: DiscriminatorConditioning = "concat"
    """Use of the label: concat, projection or auxiliary."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """See `distgan.networks.base.DiscriminatorSettings.build`."""
        return DCGANDiscriminator(image, classes, self)


def _initialise(module: nn.Module) -> None:
    """Radford et al., section 4: weights from N(0, 0.02); BatchNorm scales around 1."""
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02)
        elif isinstance(part, nn.BatchNorm2d) and part.affine:
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)


class DCGANGenerator(nn.Module):
    """z, or [z; e], to a seed image, then BatchNorm, ReLU and doubling until full size; tanh."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, settings: DCGANGeneratorSettings
    ) -> None:
        super().__init__()
        kind, steps = settings.conditioning, halvings(image, "dcgan")
        seed = (image.height >> steps, image.width >> steps)
        channels = [settings.width << power for power in reversed(range(steps))]
        self.input = ConcatLabel(latent, classes if kind == "concat" else 0, settings.embedding)
        layers: list[nn.Module] = [
            nn.ConvTranspose2d(self.input.width, channels[0], seed, bias=False)
        ]
        # ReLU in place: the backward of a batch norm does not need its output.
        for inputs, outputs in pairwise(channels):
            layers += [batch_norm(inputs, classes, kind), nn.ReLU(inplace=True)]
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False))
        layers += [batch_norm(channels[-1], classes, kind), nn.ReLU(inplace=True)]
        layers.append(nn.ConvTranspose2d(channels[-1], image.channels, 4, 2, 1))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w) in [-1, 1]."""
        images: Tensor = self.input(z, labels)[:, :, None, None]
        for layer in self.layers:
            images = run(layer, images, labels)
        return images


class DCGANDiscriminator(nn.Module):
    """Halving convolutions with BatchNorm (none on the first) and LeakyReLU 0.2.

    Conditioning concat shows it the label as one more image plane, embedded; projection
    takes the last feature map, flattened.
    """

    def __init__(
        self, image: ImageShape, classes: int, settings: DCGANDiscriminatorSettings
    ) -> None:
        super().__init__()
        kind, steps = settings.conditioning, halvings(image, "dcgan", "discriminator")
        self.embed = LabelPlane(image, classes) if classes and kind == "concat" else None
        channels = image.channels + (self.embed is not None)
        layers: list[nn.Module] = []
        self.depth = steps
        for step in range(steps):
            outputs = settings.width << step
            layers.append(nn.Conv2d(channels, outputs, 4, 2, 1, bias=step == 0))
            if step > 0:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            channels = outputs
        seed = (image.height >> steps, image.width >> steps)
        last = nn.Conv2d(channels, logit_count(classes, kind), seed)
        self.layers = nn.Sequential(*layers, last)
        _initialise(self)
        self.projection = projection(channels * seed[0] * seed[1], classes, kind)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> logits, float (n,) or
        (n, 1 + classes)."""
        return self.with_features(images, labels, self.depth)[0]

    def with_features(
        self, images: Tensor, labels: Tensor | None, layer: int
    ) -> tuple[Tensor, Tensor]:
        """See `FeatureDiscriminator.with_features`."""
        if self.embed is not None:
            images = torch.cat([images, self.embed(labels)], dim=1)
        # A convolution and its activation; from the second on a batch norm between them.
        end = 3 * layer - 1
        found = self.layers[:end](images)
        features = self.layers[end:-1](found)
        outputs = self.layers[-1](features).flatten(1)
        return to_logits(outputs, features, labels, self.projection), found
