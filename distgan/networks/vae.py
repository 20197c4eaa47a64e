"""Encoders and decoders of variational autoencoders, of the size of the GANs they stand beside.

A decoder is the generator of the same name with another last step. An encoder is the
discriminator of the same name with two outputs a latent dimension in the place of its logit.
Both take the label, if there is one, as conditioning concat does.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, Protocol, get_args

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width, Widths
from distgan.config.shape import ImageShape
from distgan.networks.dcgan import (
    DCGANDiscriminator,
    DCGANDiscriminatorSettings,
    DCGANGenerator,
    DCGANGeneratorSettings,
)
from distgan.networks.kernels.linear import Linear
from distgan.networks.mlp import MLPDiscriminator, MLPDiscriminatorSettings, MLPGenerator

LOG_VARIANCES = (-30.0, 20.0)
"""Bounds of what an encoder returns: exp of half of it is neither 0 nor infinite in float32."""

Head = Literal["logits", "image"]
"""A decoder's last step: none, for the logits of a Bernoulli likelihood, or a sigmoid or tanh
to [-1, 1], for the means of others."""
Activation = Literal["relu", "tanh"]
"""Between two fully connected layers; tanh as in Kingma and Welling 2014 and Burda et al. 2016.
Like theirs an encoder with tanh works on [0, 1]: a background of -1 would saturate its first layer
(on MNIST's digits, after 1,500 updates of 100, 155 nats instead of 134)."""


class Posterior(NamedTuple):
    """q(z|x), a diagonal Gaussian: float (n, latent) each."""

    mean: Tensor
    log_variance: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """z = mean + exp(log_variance / 2) noise, with noise from N(0, I), the reparameterisation
        of Kingma and Welling 2014, section 2.4: float (n, k * latent) -> (n * k, latent), the k
        of an image one after another."""
        deviation = (self.log_variance / 2).exp()
        parts = noise.view(len(noise), -1, self.mean.shape[1])
        return (self.mean[:, None] + deviation[:, None] * parts).flatten(0, 1)


class Decoded(NamedTuple):
    """What the likelihood p(x|z) needs."""

    images: Tensor
    """Logits, or means in [-1, 1]: float (n, channels, height, width)."""
    log_scale: Tensor | None
    """A learned log scale, float (scales, 1, 1), or None."""


class EncoderSettings(Protocol):
    """The settings of an encoder know how to build it."""

    name: str

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """A module that maps images, float (n, channels, height, width) in [-1, 1], and labels,
        int64 (n,) or None, to a `Posterior`.

        Args:
            image: shape of one image.
            latent: length of z.
            classes: number of labels, 0 for an unconditional network.
        """
        ...


class DecoderSettings(Protocol):
    """The settings of a decoder know how to build it."""

    name: str

    def build(
        self, image: ImageShape, latent: int, classes: int, head: Head = "logits", scales: int = 0
    ) -> nn.Module:
        """A module that maps z, float (n, latent), and labels, int64 (n,) or None, to `Decoded`.

        Args:
            image: shape of one image.
            latent: length of z.
            classes: number of labels, 0 for an unconditional network.
            head: the last step.
            scales: learned log scales, which start at 0: none, 1 for all pixels, or one a channel.
        """
        ...


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MLPEncoderSettings:
    """Fully connected encoder."""

    name: Literal["mlp"] = "mlp"
    """Network: mlp or dcgan."""
    widths: Widths = (512, 256, 128)
    """Hidden layer widths, from the image side."""
    embedding: Width = 10
    """Length of the label embedding beside the pixels."""
    activation: Activation = "relu"
    """Between layers: relu or tanh."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `EncoderSettings.build`."""
        return MLPEncoder(image, latent, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MLPDecoderSettings:
    """Fully connected decoder."""

    name: Literal["mlp"] = "mlp"
    """Network: mlp or dcgan."""
    widths: Widths = (128, 256, 512, 1024)
    """Hidden layer widths, from the latent side."""
    embedding: Width = 10
    """Length of the label embedding e in [z; e]."""
    activation: Activation = "relu"
    """Between layers: relu or tanh."""

    def build(
        self, image: ImageShape, latent: int, classes: int, head: Head = "logits", scales: int = 0
    ) -> nn.Module:
        """See `DecoderSettings.build`."""
        return MLPDecoder(image, latent, classes, self, head, scales)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANEncoderSettings:
    """Convolutions of stride 2 down to a small image, then mean and log-variance."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp or dcgan."""
    width: Width = 64
    """Channels of the first layer; doubled at each further layer."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `EncoderSettings.build`."""
        return DCGANEncoder(image, latent, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DCGANDecoderSettings:
    """Transposed convolutions of stride 2 from a small seed image."""

    name: Literal["dcgan"] = "dcgan"
    """Network: mlp or dcgan."""
    width: Width = 64
    """Channels at the last hidden layer; doubled at each layer towards the latent."""
    embedding: Width = 10
    """Length of the label embedding e in [z; e]."""

    def build(
        self, image: ImageShape, latent: int, classes: int, head: Head = "logits", scales: int = 0
    ) -> nn.Module:
        """See `DecoderSettings.build`."""
        return DCGANDecoder(image, latent, classes, self, head, scales)


def _posterior(outputs: Tensor) -> Posterior:
    mean, log_variance = outputs.chunk(2, dim=1)
    return Posterior(mean, log_variance.clamp(*LOG_VARIANCES))


def _scales(count: int) -> nn.Parameter | None:
    return nn.Parameter(torch.zeros(count, 1, 1)) if count else None


def _use_tanh(layers: nn.Sequential) -> None:
    """Every second layer is an activation; Xavier's initialisation (Glorot and Bengio 2010)."""
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.ReLU):
            layers[index] = nn.Tanh()
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)


class MLPEncoder(MLPDiscriminator):
    """The discriminator's layers, then mean and log-variance."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, settings: MLPEncoderSettings
    ) -> None:
        body = MLPDiscriminatorSettings(widths=settings.widths, embedding=settings.embedding)
        super().__init__(image, classes, body)
        last = Linear(settings.widths[-1], 2 * latent)
        nn.init.kaiming_normal_(last.weight, nonlinearity="linear")
        nn.init.zeros_(last.bias)
        self.layers[-1] = last
        self.saturates = settings.activation == "tanh"
        if self.saturates:
            _use_tanh(self.layers)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Posterior:  # type: ignore[override]
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> float (n, latent) twice."""
        if self.saturates:
            images = (images + 1) / 2
        return _posterior(self.layers(self.input(images.flatten(1), labels)))


class DCGANEncoder(DCGANDiscriminator):
    """The discriminator's layers, then mean and log-variance."""

    def __init__(
        self, image: ImageShape, latent: int, classes: int, settings: DCGANEncoderSettings
    ) -> None:
        super().__init__(image, classes, DCGANDiscriminatorSettings(width=settings.width))
        logit = self.layers[-1]
        assert isinstance(logit, nn.Conv2d)
        height, width = logit.kernel_size
        last = nn.Conv2d(logit.in_channels, 2 * latent, (height, width))
        nn.init.normal_(last.weight, 0.0, 0.02)
        self.layers[-1] = last

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Posterior:  # type: ignore[override]
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> float (n, latent) twice."""
        if self.embed is not None:
            images = torch.cat([images, self.embed(labels)], dim=1)
        return _posterior(self.layers(images).flatten(1))


class MLPDecoder(MLPGenerator):
    """The generator's layers, with a head."""

    def __init__(
        self,
        image: ImageShape,
        latent: int,
        classes: int,
        settings: MLPDecoderSettings,
        head: Head,
        scales: int,
    ) -> None:
        super().__init__(image, latent, classes, settings.widths, settings.embedding)
        self.head, self.log_scale = head, _scales(scales)
        if settings.activation == "tanh":
            _use_tanh(self.layers)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Decoded:  # type: ignore[override]
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w), and the log scale."""
        if self.head == "image":
            return Decoded(super().forward(z, labels), self.log_scale)
        pixels = self.layers(self.input(z, labels))
        return Decoded(pixels.view(-1, *self.image), self.log_scale)


class DCGANDecoder(DCGANGenerator):
    """The generator's layers, with a head."""

    def __init__(
        self,
        image: ImageShape,
        latent: int,
        classes: int,
        settings: DCGANDecoderSettings,
        head: Head,
        scales: int,
    ) -> None:
        body = DCGANGeneratorSettings(width=settings.width, embedding=settings.embedding)
        super().__init__(image, latent, classes, body)
        self.log_scale = _scales(scales)
        if head == "logits":
            del self.layers[-1]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Decoded:  # type: ignore[override]
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w), and the log scale."""
        return Decoded(super().forward(z, labels), self.log_scale)


EncoderNetwork = Annotated[MLPEncoderSettings | DCGANEncoderSettings, Field(discriminator="name")]
DecoderNetwork = Annotated[MLPDecoderSettings | DCGANDecoderSettings, Field(discriminator="name")]

ENCODERS: dict[str, type[EncoderSettings]] = {
    kind.name: kind for kind in get_args(get_args(EncoderNetwork)[0])
}
"""Settings of every encoder by name."""
DECODERS: dict[str, type[DecoderSettings]] = {
    kind.name: kind for kind in get_args(get_args(DecoderNetwork)[0])
}
"""Settings of every decoder by name."""


class VariationalAutoencoder(nn.Module):
    """An encoder, the reparameterisation, and a decoder, as one network.

    One network has one exchange of gradients, one optimizer and one moving average.

    Args:
        encoder: maps images and labels to a `Posterior`.
        decoder: maps z and labels to `Decoded`.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(
        self, images: Tensor, noise: Tensor, labels: Tensor | None = None
    ) -> tuple[Posterior, Decoded]:
        """q(z|x), and the decoder's output for a draw of it.

        Args:
            images: float (n, channels, height, width) in [-1, 1].
            noise: standard normal, float (n, k * latent), for k vectors z of each image. What is
                decoded has the k of an image one after another: (n * k, ...).
            labels: int64 (n,), or None.
        """
        posterior: Posterior = self.encoder(images, labels)
        z = posterior.draw(noise)
        again = None if labels is None else labels.repeat_interleave(len(z) // len(images))
        decoded: Decoded = self.decoder(z, again)
        return posterior, decoded
