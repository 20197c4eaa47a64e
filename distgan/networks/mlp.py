"""The fully connected pair of the tutorial: G 100-128-256-512-1024-784, D 784-512-256-128-1."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width, Widths
from distgan.config.shape import ImageShape
from distgan.networks.base import (
    ConcatLabel,
    DiscriminatorConditioning,
    logit_count,
    projection,
    to_logits,
)
from distgan.networks.kernels.linear import Linear


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MLPGeneratorSettings:
    """Fully connected generator."""

    name: Literal["mlp"] = "mlp"
    """Network: mlp, dcgan, sngan or r3gan."""
    widths: Widths = (128, 256, 512, 1024)
    """Hidden layer widths, from the latent side."""
    embedding: Width = 10
    """Length of the label embedding e in [z; e] of a conditional generator."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `distgan.networks.base.GeneratorSettings.build`."""
        return MLPGenerator(image, latent, classes, self.widths, self.embedding)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MLPDiscriminatorSettings:
    """Fully connected discriminator."""

    name: Literal["mlp"] = "mlp"
    """Network: mlp, dcgan, sngan or r3gan."""
    widths: Widths = (512, 256, 128)
    """Hidden layer widths, from the image side."""
    embedding: Width = 10
    """Length of the label embedding that conditioning concat puts beside the pixels."""
    conditioning: DiscriminatorConditioning = "concat"
    """Use of the label: concat, projection or auxiliary."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """See `distgan.networks.base.DiscriminatorSettings.build`."""
        return MLPDiscriminator(image, classes, self)


class _Layers(nn.Sequential):
    """Linear layers of these widths, with a ReLU between two."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            # He initialisation: torch's default reduces the variance sixfold in each ReLU layer,
            # so that this generator's output is nearly constant at first, and stays so.
            linear = Linear(inputs, outputs)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
        super().__init__(*layers[:-1])

    def hidden(self, x: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """The input of the last layer; or what hidden layers ``start`` to ``stop`` - 1 make of
        their input, counted from 0."""
        layers = list(self)[:-1]
        if start or stop is not None:
            layers = layers[2 * start : None if stop is None else 2 * stop]
        for linear, activation in zip(layers[::2], layers[1::2], strict=True):
            # A ReLU fused into the linear layer before it takes no time of its own.
            fused = type(activation) is nn.ReLU
            x = linear(x, relu=True) if fused else activation(linear(x))
        return x

    def forward(self, x: Tensor) -> Tensor:
        """float (n, first width) -> float (n, last width)."""
        return self.last(self.hidden(x))

    def last(self, features: Tensor) -> Tensor:
        """The last layer alone."""
        result: Tensor = self[-1](features)
        return result


class MLPGenerator(nn.Module):
    """ReLU layers, then a sigmoid scaled from [0, 1] to the package's range [-1, 1]."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, widths: tuple[int, ...], embedding: int
    ) -> None:
        super().__init__()
        self.image = image
        self.input = ConcatLabel(latent, classes, embedding)
        pixels = image.channels * image.height * image.width
        self.layers = _Layers((self.input.width, *widths, pixels))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w) in [-1, 1]."""
        pixels = 2 * torch.sigmoid(self.layers(self.input(z, labels))) - 1
        return pixels.view(-1, *self.image)


class MLPDiscriminator(nn.Module):
    """ReLU layers on the pixels, with the label as its settings' conditioning says."""

    def __init__(self, image: ImageShape, classes: int, settings: MLPDiscriminatorSettings) -> None:
        super().__init__()
        kind, widths = settings.conditioning, settings.widths
        pixels = image.channels * image.height * image.width
        self.input = ConcatLabel(pixels, classes if kind == "concat" else 0, settings.embedding)
        self.layers = _Layers((self.input.width, *widths, logit_count(classes, kind)))
        self.projection = projection(widths[-1], classes, kind)
        self.depth = len(widths)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> logits, float (n,) or
        (n, 1 + classes)."""
        features = self.layers.hidden(self.input(images.flatten(1), labels))
        return to_logits(self.layers.last(features), features, labels, self.projection)

    def with_features(
        self, images: Tensor, labels: Tensor | None, layer: int
    ) -> tuple[Tensor, Tensor]:
        """See `FeatureDiscriminator.with_features`."""
        found = self.layers.hidden(self.input(images.flatten(1), labels), stop=layer)
        features = self.layers.hidden(found, start=layer)
        outputs = self.layers.last(features)
        return to_logits(outputs, features, labels, self.projection), found
