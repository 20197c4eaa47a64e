"""The residual generator of CycleGAN and CUT, after Johnson et al., "Perceptual Losses for
Real-Time Style Transfer and Super-Resolution" (2016).

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks"
(ICCV 2017), appendix 7.2; Park et al., "Contrastive Learning for Unpaired Image-to-Image
Translation" (ECCV 2020), who look at five of its layers and filter where sizes change.
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
from distgan.networks.normalisation import Norm, activation, needs_bias, normalisation
from distgan.networks.padding import ReflectionPad
from distgan.networks.random import SampleDropout
from distgan.networks.resample import Double, Halve
from distgan.networks.translation import Start, check_same_size, initialise


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ResNetGeneratorSettings:
    """Two halvings, residual blocks, two doublings."""

    name: Literal["resnet"] = "resnet"
    """Network: unet, resnet or srresnet."""
    blocks: Annotated[int, Field(ge=0, le=100)] = 0
    """Residual blocks; 0 as published: 6 below 256 pixels, 9 from there on."""
    width: Width = 64
    """Channels of the first layer; 4 times as many in the residual blocks."""
    norm: Norm = "instance"
    """Normalisation: batch, instance, group or none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share dropped inside each residual block; pix2pix with this network has 0.5."""
    antialias: bool = False
    """Change sizes by filters between convolutions of stride 1, as CUT, not by the convolutions
    themselves: as many weights, more work, and no checkerboard pattern."""
    init: Start = "normal"
    """How weights start: normal or xavier."""

    def build(self, image: ImageShape, output: ImageShape) -> nn.Module:
        """See `distgan.networks.translation.TranslatorSettings.build`."""
        check_same_size(image, output, "resnet")
        if image.height % 4 or image.width % 4 or min(image[1:]) < 8:
            raise UserError(
                "--generator.network.name resnet: needs sides that 4 divides, of at least 8; "
                f"these images are {image.height}x{image.width}; prepare them at another size"
            )
        return ResNetGenerator(image, output.channels, self)


class ResidualBlock(nn.Module):
    """x + (3x3, norm, ReLU, dropout, 3x3, norm), each convolution with its edges reflected."""

    def __init__(self, width: int, settings: ResNetGeneratorSettings) -> None:
        super().__init__()
        norm, bias = settings.norm, needs_bias(settings.norm)
        layers = [
            ReflectionPad(1),
            nn.Conv2d(width, width, 3, bias=bias),
            normalisation(norm, width),
            activation(norm),
        ]
        if settings.dropout:
            layers.append(SampleDropout(settings.dropout))
        layers += [
            ReflectionPad(1),
            nn.Conv2d(width, width, 3, bias=bias),
            normalisation(norm, width),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, width, h, w) -> the same shape."""
        result: Tensor = maps + self.layers(maps)
        return result


class ResNetGenerator(nn.Module):
    """7x7, two 3x3 that halve, blocks, two 3x3 that double, 7x7, tanh; norm and ReLU between.

    Its layers have numbers: 0 are the padded pixels, 1 and 2 what the halving convolutions give,
    before norm and filter, and 2 + k the k-th residual block. Published are 0, 1, 2, 3 and 7.
    """

    def __init__(self, image: ImageShape, outputs: int, settings: ResNetGeneratorSettings) -> None:
        super().__init__()
        width = settings.width
        blocks = settings.blocks or (6 if min(image[1:]) < 256 else 9)
        self.image, self.width, self.antialias = image, width, settings.antialias
        self.multiple = 4
        # One part a layer that can be looked at, so that a look computes nothing behind it.
        self.encoder = nn.ModuleList(
            [
                ReflectionPad(3),
                nn.Sequential(
                    nn.Conv2d(image.channels, width, 7, bias=needs_bias(settings.norm)),
                    *_rectified(width, settings),
                    _halving(width, settings),
                ),
                nn.Sequential(*_filtered(2 * width, settings), _halving(2 * width, settings)),
                nn.Sequential(*_filtered(4 * width, settings), ResidualBlock(4 * width, settings)),
                *(ResidualBlock(4 * width, settings) for _ in range(blocks - 1)),
            ]
        )
        self.decoder = nn.Sequential(
            *_doubling(4 * width, settings),
            *_doubling(2 * width, settings),
            ReflectionPad(3),
            nn.Conv2d(width, outputs, 7),
            nn.Tanh(),
        )
        self.feature_layers = tuple(sorted({0, 1, 2, 3, 2 + min(blocks, 5)}))
        initialise(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """float (n, c, h, w) in [-1, 1] -> float (n, c', h, w) in [-1, 1]."""
        maps = images
        for part in self.encoder:
            maps = part(maps)
        result: Tensor = self.decoder(maps)
        return result

    def with_features(self, images: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """See `FeatureTranslator.with_features`."""
        maps, found = images, []
        for number, part in enumerate(self.encoder[: max(layers) + 1]):
            maps = part(maps)
            if number in layers:
                found.append(maps)
        return found

    def feature_shapes(self, layers: Sequence[int]) -> list[ImageShape]:
        """See `FeatureTranslator.feature_shapes`."""
        return [self._feature_shape(layer) for layer in layers]

    def _feature_shape(self, layer: int) -> ImageShape:
        channels, height, width = self.image
        if layer == 0:
            return ImageShape(channels, height + 6, width + 6)
        # A filter halves only behind the convolution.
        halved = min(layer, 2) - (self.antialias and layer < 3)
        return ImageShape(self.width << min(layer, 2), height >> halved, width >> halved)


def _rectified(width: int, settings: ResNetGeneratorSettings) -> list[nn.Module]:
    return [normalisation(settings.norm, width), activation(settings.norm)]


def _filtered(width: int, settings: ResNetGeneratorSettings) -> list[nn.Module]:
    return [*_rectified(width, settings), *([Halve()] if settings.antialias else [])]


def _halving(width: int, settings: ResNetGeneratorSettings) -> nn.Module:
    stride, bias = 1 if settings.antialias else 2, needs_bias(settings.norm)
    return nn.Conv2d(width, 2 * width, 3, stride, 1, bias=bias)


def _doubling(width: int, settings: ResNetGeneratorSettings) -> list[nn.Module]:
    half, bias = width // 2, needs_bias(settings.norm)
    if settings.antialias:
        layers = [Double(), nn.Conv2d(width, half, 3, padding=1, bias=bias)]
    else:
        layers = [nn.ConvTranspose2d(width, half, 3, 2, 1, output_padding=1, bias=bias)]
    return [*layers, *_rectified(half, settings)]
