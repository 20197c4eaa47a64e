"""The U-Net of Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks"
(CVPR 2017), section 6.1.1, for any size that can be halved, after Ronneberger et al. (2015)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.normalisation import Norm, needs_bias, normalisation
from distgan.networks.random import SampleDropout
from distgan.networks.translation import Start, check_same_size, initialise

_MOST_LEVELS = 8
_FIRST_WITH_DROPOUT = 4


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class UNetSettings:
    """Halving convolutions, their mirror image, and a skip connection at every size."""

    name: Literal["unet"] = "unet"
    """Network: unet, resnet or srresnet."""
    levels: Annotated[int, Field(ge=0, le=16)] = 0
    """How many times images are halved; 0 for as often as their sides allow, up to 8: 8 for
    256 pixels and 7 for 128 as published, 5 for 32."""
    width: Width = 64
    """Channels of the outermost level; doubled at each further one, up to 8 times as many."""
    norm: Norm = "batch"
    """Normalisation: batch, instance, group or none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share dropped behind the up-convolutions that are published so: those of the fifth level
    inwards, without the innermost. Networks of up to 5 levels have none."""
    init: Start = "normal"
    """How weights start: normal or xavier."""

    def build(self, image: ImageShape, output: ImageShape) -> nn.Module:
        """See `distgan.networks.translation.TranslatorSettings.build`."""
        check_same_size(image, output, "unet")
        return UNet(image.channels, output.channels, unet_levels(image, self.levels), self)


def unet_levels(image: ImageShape, wanted: int = 0) -> int:
    """The levels of a U-Net for images of this shape.

    Raises:
        UserError: for more than the sides allow, or sides that do not allow 2.
    """
    most = 0
    while not any(side % (2 << most) for side in image[1:]):
        most += 1
    size = f"these images are {image.height}x{image.width}"
    if wanted > most and most >= 2:
        raise UserError(
            f"--generator.network.levels {wanted}: needs sides that {1 << wanted} divides, {size}; "
            f"at most {most} fit, or prepare the images at another size"
        )
    if most < 2 or wanted == 1:
        raise UserError(
            f"--generator.network.name unet: needs at least 2 levels and sides that 4 divides, "
            f"{size}; prepare them at another size"
        )
    return wanted or min(most, _MOST_LEVELS)


class UNet(nn.Module):
    """Down: leaky ReLU 0.2, 4x4 convolution of stride 2, norm; up: ReLU, transposed, norm.

    The outermost convolution has neither activation nor norm before or behind it, the innermost
    no norm, as its map may be a single pixel. The last up-convolution is followed by tanh.
    """

    def __init__(self, channels: int, outputs: int, levels: int, settings: UNetSettings) -> None:
        super().__init__()
        norm, bias = settings.norm, needs_bias(settings.norm)
        self.multiple = 1 << levels
        widths = [settings.width * min(1 << level, 8) for level in range(levels)]
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for level, width in enumerate(widths):
            innermost = level == levels - 1
            before = widths[level - 1] if level else channels
            halve = nn.Conv2d(before, width, 4, 2, 1, bias=bias)
            normed = 0 < level < levels - 1
            down.append(nn.Sequential(halve, normalisation(norm, width)) if normed else halve)
            inputs = width if innermost else 2 * width
            if level == 0:
                up.append(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))
                continue
            double = nn.ConvTranspose2d(inputs, before, 4, 2, 1, bias=bias)
            layers = [double, normalisation(norm, before)]
            if settings.dropout and level >= _FIRST_WITH_DROPOUT and not innermost:
                layers.append(SampleDropout(settings.dropout))
            up.append(nn.Sequential(*layers))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(reversed(up))
        # In place: what precedes is a convolution, a norm or a concatenation, and none of these
        # needs its output in backward.
        self.leaky, self.rectify = nn.LeakyReLU(0.2, inplace=True), nn.ReLU(inplace=True)
        initialise(self, settings.init)

    def forward(self, images: Tensor) -> Tensor:
        """float (n, c, h, w) in [-1, 1] -> float (n, c', h, w) in [-1, 1]."""
        maps = images
        skips: list[Tensor] = []
        for level, down in enumerate(self.down):
            # The activation in place changes the skip connection too, which is rectified behind
            # it: ReLU(leaky ReLU(x)) = ReLU(x).
            maps = down(self.leaky(maps) if level else maps)
            skips.append(maps)
        maps = skips.pop()
        for level, up in enumerate(self.up):
            maps = up(self.rectify(torch.cat([skips.pop(), maps], 1) if level else maps))
        return torch.tanh(maps)
