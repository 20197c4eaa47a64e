"""Discriminators of patches: a logit for each place of the image.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017),
section 3.2.2 and appendix 6.1.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.normalisation import Norm, needs_bias, normalisation
from distgan.networks.resample import Halve
from distgan.networks.translation import Start, initialise


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PatchGANSettings:
    """Halving convolutions and two that keep the size: a logit for each overlapping patch."""

    name: Literal["patchgan"] = "patchgan"
    """Network: patchgan or pixelgan."""
    layers: Annotated[int, Field(ge=1, le=10)] = 3
    """Halving convolutions. A logit sees 16 pixels a side with 1, 34 with 2, 70 with 3 as
    published, 142 with 4 and 286 with 5."""
    width: Width = 64
    """Channels of the first layer; doubled at each further one, up to 8 times as many."""
    norm: Norm = "batch"
    """Normalisation: batch, instance, group or none."""
    antialias: bool = False
    """Halve by filters behind convolutions of stride 1, as CUT, not by the convolutions themselves:
    as many weights, as many logits, and more work."""
    init: Start = "normal"
    """How weights start: normal or xavier."""

    def build(self, image: ImageShape) -> nn.Module:
        """See `distgan.networks.translation.PatchDiscriminatorSettings.build`."""
        least = min(image[1:])
        most = max((least // 3).bit_length() - 1, 0)
        if self.layers > most:
            raise UserError(
                f"--discriminator.network.layers {self.layers}: needs sides of at least "
                f"{3 << self.layers}, these images are {image.height}x{image.width}; "
                + (f"at most {most} fit" if most else "use the network pixelgan")
            )
        return PatchGAN(image.channels, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PixelGANSettings:
    """Convolutions of 1x1: a logit for each pixel."""

    name: Literal["pixelgan"] = "pixelgan"
    """Network: patchgan or pixelgan."""
    width: Width = 64
    """Channels of the first layer; the second has twice as many."""
    norm: Norm = "batch"
    """Normalisation: batch, instance, group or none."""
    init: Start = "normal"
    """How weights start: normal or xavier."""

    def build(self, image: ImageShape) -> nn.Module:
        """See `distgan.networks.translation.PatchDiscriminatorSettings.build`."""
        if image.height * image.width < 2:
            raise UserError(
                "--discriminator.network.name pixelgan: needs more than one pixel, these images "
                f"are {image.height}x{image.width}"
            )
        return PixelGAN(image.channels, self)


class _MapDiscriminator(nn.Module):
    """Hidden layers, each with its activation, and a convolution to logits."""

    def __init__(self, hidden: Sequence[nn.Module], last: nn.Module, start: Start) -> None:
        super().__init__()
        self.hidden, self.last, self.depth = nn.Sequential(*hidden), last, len(hidden)
        initialise(self, start)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) -> logits, float (n, 1, h', w'). Labels are not looked at."""
        logits: Tensor = self.last(self.hidden(images))
        return logits

    def with_features(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """See `distgan.networks.translation.MapDiscriminator.with_features`."""
        maps, features = images, []
        for layer in self.hidden:
            maps = layer(maps)
            features.append(maps)
        return self.last(maps), features


class PatchGAN(_MapDiscriminator):
    """4x4 convolutions, all but two of stride 2 or with a filter behind them, leaky ReLU 0.2; norm
    on all but first and last."""

    def __init__(self, channels: int, settings: PatchGANSettings) -> None:
        width, norm = settings.width, settings.norm
        stride, last = (1, [Halve()]) if settings.antialias else (2, [])
        first = nn.Conv2d(channels, width, 4, stride, 1)
        hidden = [nn.Sequential(first, nn.LeakyReLU(0.2, inplace=True), *last)]
        before = width
        for layer in range(1, settings.layers + 1):
            if layer == settings.layers:
                stride, last = 1, []
            after = width * min(1 << layer, 8)
            convolution = nn.Conv2d(before, after, 4, stride, 1, bias=needs_bias(norm))
            hidden.append(nn.Sequential(*_normalised(convolution, norm), *last))
            before = after
        super().__init__(hidden, nn.Conv2d(before, 1, 4, 1, 1), settings.init)


class PixelGAN(_MapDiscriminator):
    """1x1 convolutions to one width, to its double with a norm, and to a logit."""

    def __init__(self, channels: int, settings: PixelGANSettings) -> None:
        width, bias = settings.width, needs_bias(settings.norm)
        first = nn.Sequential(nn.Conv2d(channels, width, 1), nn.LeakyReLU(0.2, inplace=True))
        second = nn.Sequential(
            *_normalised(nn.Conv2d(width, 2 * width, 1, bias=bias), settings.norm)
        )
        last = nn.Conv2d(2 * width, 1, 1, bias=bias)
        super().__init__([first, second], last, settings.init)


def _normalised(convolution: nn.Conv2d, norm: Norm) -> list[nn.Module]:
    # In place: neither a norm nor a convolution needs its output in backward.
    normed = normalisation(norm, convolution.out_channels)
    return [convolution, normed, nn.LeakyReLU(0.2, inplace=True)]
