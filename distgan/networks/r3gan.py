"""R3GAN: Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (NeurIPS
2024), configuration E, after their paper and released code.

No normalisation anywhere. Residual branches start at zero and their other layers are scaled
down with the depth (Zhang et al., "Fixup Initialization", 2019), so that a deep network
starts as a shallow one.
"""

from __future__ import annotations

from math import gcd, sqrt
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BeforeValidator, Field, NonNegativeInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from distgan.config.settings import SETTINGS, Width, split_commas
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.base import (
    ConcatLabel,
    DiscriminatorConditioning,
    LabelPlane,
    halvings,
    logit_count,
)
from distgan.networks.resample import double

PerStage: TypeAlias = Annotated[
    tuple[Width, ...], BeforeValidator(split_commas), Field(max_length=20)
]
"""A number for each stage, one for all stages, or empty for the published ones."""

Blocks: TypeAlias = Annotated[
    tuple[Annotated[int, Field(gt=0, le=100)], ...],
    BeforeValidator(split_commas),
    Field(max_length=20),
]
"""As `PerStage`, for numbers of blocks, bounded because every block is a module."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class R3GANGeneratorSettings:
    """Stages of residual blocks, each at twice the resolution of the one before."""

    name: Literal["r3gan"] = "r3gan"
    """Network: mlp, dcgan, sngan or r3gan."""
    widths: PerStage = ()
    """Channels of each stage, from the latent side; empty as published: 768, and from the
    fifth stage on half of the one before."""
    cardinality: PerStage = ()
    """Groups of each 3x3 convolution; empty as published: one for 16 of its channels."""
    blocks: Blocks = (2,)
    """Residual blocks of each stage."""
    expansion: Annotated[int, Field(gt=0, le=64)] = 2
    """Width inside a block over the width of its stage."""
    bf16_from: NonNegativeInt = 0
    """Stages whose images have at least this side compute in bfloat16; 0 for none."""
    embedding: Width = 64
    """Length of the label embedding e in [z; e]."""

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """See `distgan.networks.base.GeneratorSettings.build`."""
        return R3GANGenerator(image, latent, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class R3GANDiscriminatorSettings:
    """The generator in reverse: stages of residual blocks, halved after each."""

    name: Literal["r3gan"] = "r3gan"
    """Network: mlp, dcgan, sngan or r3gan."""
    widths: PerStage = ()
    """Channels of each stage, from the image side; empty as published: the generator's."""
    cardinality: PerStage = ()
    """Groups of each 3x3 convolution; empty as published: one for 16 of its channels."""
    blocks: Blocks = (2,)
    """Residual blocks of each stage."""
    expansion: Annotated[int, Field(gt=0, le=64)] = 2
    """Width inside a block over the width of its stage."""
    bf16_from: NonNegativeInt = 0
    """Stages whose images have at least this side compute in bfloat16; 0 for none."""
    conditioning: DiscriminatorConditioning = "projection"
    """Use of the label: concat, projection (of the paper's own kind) or auxiliary."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """See `distgan.networks.base.DiscriminatorSettings.build`."""
        return R3GANDiscriminator(image, classes, self)


@dataclass(frozen=True)
class StagePlan:
    """The sizes of one stage."""

    size: tuple[int, int]
    width: int
    groups: int
    blocks: int
    bf16: bool


def plan(
    image: ImageShape, settings: R3GANGeneratorSettings | R3GANDiscriminatorSettings
) -> list[StagePlan]:
    """The stages from the seed image up; a discriminator's settings are read backwards.

    Raises:
        UserError: for sizes that do not halve evenly, or settings that do not fit together.
    """
    generates = isinstance(settings, R3GANGeneratorSettings)
    option = f"--{'generator' if generates else 'discriminator'}.network"
    widths = settings.widths if generates else settings.widths[::-1]
    if not widths:
        steps = halvings(image, "r3gan", "generator" if generates else "discriminator")
        widths = tuple(max(1, 768 >> max(0, step - 3)) for step in range(steps + 1))
    stages = len(widths)
    scale = 1 << (stages - 1)
    if image.height % scale or image.width % scale or min(image[1:]) < 2 * scale:
        raise UserError(
            f"{option}.widths: {stages} stages need sides that {scale} divides, of at least "
            f"{2 * scale}; these images are {image.height}x{image.width}"
        )

    def each(name: str, values: tuple[int, ...]) -> tuple[int, ...]:
        if len(values) not in (1, stages):
            raise UserError(f"{option}.{name}: has {len(values)} numbers for {stages} stages")
        return values * stages if len(values) == 1 else values if generates else values[::-1]

    inner = [width * settings.expansion for width in widths]
    if settings.cardinality:
        groups = each("cardinality", settings.cardinality)
    else:
        groups = tuple(gcd(width, max(1, width // 16)) for width in inner)
    for width, group in zip(inner, groups, strict=True):
        if width % group:
            raise UserError(f"{option}.cardinality {group}: does not divide {width} channels")
    sizes = [(image.height // scale << n, image.width // scale << n) for n in range(stages)]
    low = [0 < settings.bf16_from <= min(size) for size in sizes]
    rows = zip(sizes, widths, groups, each("blocks", settings.blocks), low, strict=True)
    return [StagePlan(*row) for row in rows]


class Convolution(nn.Conv2d):
    """A convolution that keeps the size and computes in the dtype of its input.

    Weights start from N(0, gain^2 / fan-in), as in He et al. (2015); biases from 0.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, gain: float, groups: int = 1, bias: bool = False
    ) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2, groups=groups, bias=bias)
        _scale(self.weight, gain)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """float (n, inputs, h, w) -> float (n, outputs, h, w)."""
        bias = None if self.bias is None else self.bias.to(input.dtype)
        result: Tensor = self._conv_forward(input, self.weight.to(input.dtype), bias)
        return result


def _scale(weight: Tensor, gain: float) -> None:
    nn.init.normal_(weight, 0.0, gain / sqrt(weight[0].numel()))


class ResidualBlock(nn.Module):
    """x + (1x1, leaky ReLU, grouped 3x3, leaky ReLU, 1x1); the last starts at zero."""

    slope = 0.2

    def __init__(self, stage: StagePlan, expansion: int, depth: int) -> None:
        """``depth``: residual blocks of the whole network."""
        super().__init__()
        inner = stage.width * expansion
        # He's gain for this activation; Fixup's depth ^ (-1 / (2m - 2)) for m = 3 layers.
        gain = sqrt(2 / (1 + self.slope**2)) * depth**-0.25
        self.expand = Convolution(stage.width, inner, 1, gain, bias=True)
        self.mix = Convolution(inner, inner, 3, gain, stage.groups, bias=True)
        self.contract = Convolution(inner, stage.width, 1, 0.0)
        # In place: the backward of a convolution does not need its output.
        self.activation = nn.LeakyReLU(self.slope, inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        """float (n, width, h, w) -> the same shape."""
        hidden = self.activation(self.expand(maps))
        hidden = self.activation(self.mix(hidden))
        result: Tensor = maps + self.contract(hidden)
        return result


class _Stage(nn.Sequential):
    """Residual blocks at one resolution, in bfloat16 or in the dtype of their weights."""

    def __init__(self, stage: StagePlan, expansion: int, depth: int) -> None:
        super().__init__(*(ResidualBlock(stage, expansion, depth) for _ in range(stage.blocks)))
        self.bf16 = stage.bf16

    def cast(self, maps: Tensor, plain: torch.dtype) -> Tensor:
        return maps.to(torch.bfloat16 if self.bf16 else plain)


def upsample(maps: Tensor) -> Tensor:
    """float (n, c, h, w) -> float (n, c, 2h, 2w), filtered by [1, 3, 3, 1] / 4 a side.

    That is bilinear interpolation, with zeros beyond the edge as in the published filter.
    """
    return double(maps, beyond="zeros")


def downsample(maps: Tensor) -> Tensor:
    """float (n, c, h, w) -> float (n, c, h/2, w/2), filtered by [1, 3, 3, 1] / 8 a side."""
    # Filled on the device: copying constants from the host would synchronise with a GPU.
    side = maps.new_full((4,), 0.125)
    side[1:3].fill_(0.375)
    kernel = torch.outer(side, side).expand(maps.shape[1], 1, 4, 4)
    return functional.conv2d(maps, kernel, stride=2, padding=1, groups=maps.shape[1])


def _transition(inputs: int, outputs: int) -> nn.Module:
    return nn.Identity() if inputs == outputs else Convolution(inputs, outputs, 1, 1.0)


class R3GANGenerator(nn.Module):
    """z, or [z; e], scales the channels of a learned seed image; then stages, and a 1x1 to pixels.

    As published, there is no final tanh: pixels may leave [-1, 1] while training, and are clipped
    to it in eval mode.
    """

    def __init__(
        self, image: ImageShape, latent: int, classes: int, settings: R3GANGeneratorSettings
    ) -> None:
        super().__init__()
        stages = plan(image, settings)
        depth = sum(stage.blocks for stage in stages)
        self.input = ConcatLabel(latent, classes, settings.embedding)
        if self.input.embed is not None:
            # The published layer is linear on one-hot labels, of fan-in ``classes``.
            nn.init.normal_(self.input.embed.weight, 0.0, classes**-0.5)
        self.basis = nn.Parameter(torch.randn(stages[0].width, *stages[0].size))
        self.weigh = nn.Linear(self.input.width, stages[0].width, bias=False)
        _scale(self.weigh.weight, 1.0)
        self.stages = nn.ModuleList(_Stage(each, settings.expansion, depth) for each in stages)
        widths = [stages[0].width, *(each.width for each in stages)]
        self.transitions = nn.ModuleList(map(_transition, widths, widths[1:]))
        self.last = Convolution(widths[-1], image.channels, 1, 1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, latent), int64 (n,) or None -> float (n, c, h, w)."""
        maps = self.basis * self.weigh(self.input(z, labels))[:, :, None, None]
        for number, (stage, transition) in enumerate(
            zip(self.stages, self.transitions, strict=True)
        ):
            assert isinstance(stage, _Stage)
            maps = stage.cast(maps, z.dtype)
            maps = stage(upsample(transition(maps)) if number else maps)
        images: Tensor = self.last(maps).to(z.dtype)
        return images if self.training else images.clamp(-1, 1)


class R3GANDiscriminator(nn.Module):
    """A 1x1 from pixels, stages, a learned weighted sum over each channel's map, a linear layer.

    Conditioning projection is that of the paper's conditional models: the logit is the inner
    product of the linear layer's output, a vector, with an embedding of the label.
    """

    def __init__(
        self, image: ImageShape, classes: int, settings: R3GANDiscriminatorSettings
    ) -> None:
        super().__init__()
        kind = settings.conditioning
        stages = plan(image, settings)
        depth = sum(stage.blocks for stage in stages)
        self.plane = LabelPlane(image, classes) if classes and kind == "concat" else None
        channels = image.channels + (self.plane is not None)
        self.first = Convolution(channels, stages[-1].width, 1, 1.0)
        self.stages = nn.ModuleList(
            _Stage(each, settings.expansion, depth) for each in reversed(stages)
        )
        widths = [each.width for each in reversed(stages)]
        self.transitions = nn.ModuleList(map(_transition, widths, widths[1:]))
        last = widths[-1]
        self.basis = nn.Conv2d(last, last, stages[0].size, groups=last, bias=False)
        _scale(self.basis.weight, 1.0)
        self.embed = nn.Embedding(classes, last) if classes and kind == "projection" else None
        self.weigh = nn.Linear(last, last if self.embed else logit_count(classes, kind), bias=False)
        _scale(self.weigh.weight, 1.0)
        if self.embed is not None:
            # The published layer is linear on one-hot labels, of gain 1 / sqrt(its outputs).
            nn.init.normal_(self.embed.weight, 0.0, (last * classes) ** -0.5)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """float (n, c, h, w) in [-1, 1], int64 (n,) or None -> logits, float (n,) or
        (n, 1 + classes)."""
        plain = images.dtype
        if self.plane is not None:
            images = torch.cat([images, self.plane(labels)], dim=1)
        maps = images
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, _Stage)
            maps = stage.cast(maps, plain)
            maps = stage(maps if number else self.first(maps))
            if number < len(self.transitions):
                maps = self.transitions[number](downsample(maps))
        outputs: Tensor = self.weigh(self.basis(maps.to(plain)).flatten(1))
        if self.embed is not None:
            outputs = (outputs * self.embed(labels)).sum(1, keepdim=True)
        return outputs if outputs.shape[1] > 1 else outputs.squeeze(1)
