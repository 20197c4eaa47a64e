"""A residual network that enlarges images, after the SRResNet of Ledig et al., "Photo-Realistic
Single Image Super-Resolution Using a Generative Adversarial Network" (CVPR 2017).

As in later work (Lim et al., EDSR, 2017; Wang et al., ESRGAN, 2018) the blocks have no norm unless
one is chosen. The network adds to the bilinearly enlarged input, and starts close to it. It is the
one of 1,517,571 parameters of BasicSR (Wang et al., "BasicSR: Open Source Image and Video
Restoration Toolbox"), which calls it MSRResNet, for three channels and scale 4.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.normalisation import Norm, activation, normalisation


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SRResNetSettings:
    """Residual blocks on the small image, then doublings by rearranged channels."""

    name: Literal["srresnet"] = "srresnet"
    """Network: unet, resnet or srresnet."""
    blocks: Annotated[int, Field(ge=1, le=100)] = 16
    """Residual blocks."""
    width: Width = 64
    """Channels of every layer."""
    norm: Norm = "none"
    """Normalisation in the residual blocks: batch as first published, instance, group or none."""

    def build(self, image: ImageShape, output: ImageShape) -> nn.Module:
        """See `distgan.networks.translation.TranslatorSettings.build`."""
        return SRResNet(image.channels, _scale(image, output), self)


def _scale(image: ImageShape, output: ImageShape) -> int:
    scale = output.height // image.height
    if scale not in (2, 4) or output[1:] != (scale * image.height, scale * image.width):
        raise UserError(
            "--generator.network.name srresnet: enlarges images 2 or 4 times, not from "
            f"{image.height}x{image.width} to {output.height}x{output.width}; unet and resnet "
            "keep the size"
        )
    if image.channels != output.channels:
        raise UserError(
            "--generator.network.name srresnet: adds to its input, which has to have the channels "
            f"of the output, {output.channels}, not {image.channels}"
        )
    if min(image[1:]) < 2:
        raise UserError(
            f"--generator.network.name srresnet: needs sides of at least 2, these images are "
            f"{image.height}x{image.width}"
        )
    return scale


class ResidualBlock(nn.Module):
    """x + (3x3, norm, ReLU, 3x3, norm)."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(width, width),
            normalisation(norm, width),
            activation(norm),
            _convolution(width, width),
            normalisation(norm, width),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, width, h, w) -> the same shape."""
        result: Tensor = maps + self.layers(maps)
        return result


class SRResNet(nn.Module):
    """3x3, blocks, for each doubling a 3x3 and a pixel shuffle, 3x3, 3x3; leaky ReLU 0.1 between.

    There is no final tanh, as what it gives is added to the enlarged input: pixels may leave
    [-1, 1] while training, and are clipped to it in eval mode.
    """

    def __init__(self, channels: int, scale: int, settings: SRResNetSettings) -> None:
        super().__init__()
        width = settings.width
        self.scale, self.multiple = scale, 1
        layers: list[nn.Module] = [_convolution(channels, width), nn.LeakyReLU(0.1)]
        layers += [ResidualBlock(width, settings.norm) for _ in range(settings.blocks)]
        for _ in range(scale // 2):
            layers += [_convolution(width, 4 * width), nn.PixelShuffle(2), nn.LeakyReLU(0.1)]
        layers += [_convolution(width, width), nn.LeakyReLU(0.1), _convolution(width, channels)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """float (n, c, h, w) in [-1, 1] -> float (n, c, scale h, scale w)."""
        enlarged = functional.interpolate(
            images, scale_factor=self.scale, mode="bilinear", align_corners=False
        )
        result: Tensor = enlarged + self.layers(images)
        return result if self.training else result.clamp(-1, 1)


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    # As BasicSR: a tenth of He's initialisation (2015), so that all but the skip starts small.
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    nn.init.normal_(layer.weight, 0.0, 0.1 * (2 / (9 * inputs)) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
