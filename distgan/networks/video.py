"""Networks of clips that are seen at few moments: after Skorokhodov et al., "StyleGAN-V" (CVPR
2022), on the project's own networks of images.
"""

from __future__ import annotations

from itertools import pairwise
from math import pi, sqrt
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.networks.base import Projection
from distgan.networks.motion import GAIN, SLOPE, MotionCodes, MotionSettings
from distgan.networks.r3gan import ResidualBlock, StagePlan

_OCTAVES = 10
"""Waves that a difference of times is shown as, of 2 frames, 4, and so on to 1,024."""
_LAST_SIDE = 4
"""Of the maps that the logit is computed of."""


class ClipGenerator(nn.Module):
    """Frames of a clip, each by itself: a network of images is given [content, motion of the time].

    Args:
        frame: see `distgan.networks.base.GeneratorSettings.build`; of a latent as long as content
            and `MotionSettings.width` together.
    """

    def __init__(self, frame: nn.Module, motion: MotionSettings) -> None:
        super().__init__()
        self.motion = MotionCodes(motion)
        self.frame = frame

    def forward(
        self, content: Tensor, noise: Tensor, times: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Clips at any times.

        Args:
            content: standard normal, float (n, latent).
            noise, times: see `MotionCodes.forward`; times are float (n, k).
            labels: int64 (n,) or None.

        Returns:
            float (n, k, c, h, w) in [-1, 1], as far as the network of images keeps to that.
        """
        moments = times.shape[1]
        motion = self.motion(noise, times)
        content = content.unsqueeze(1).expand(-1, moments, -1)
        each = None if labels is None else labels.repeat_interleave(moments)
        frames: Tensor = self.frame(torch.cat([content, motion], 2).flatten(0, 1), each)
        return frames.view(*times.shape, *frames.shape[1:])


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SparseDiscriminatorSettings:
    """Frames encoded each by itself, joined at a small size, and judged with their times."""

    width: Width = 64
    """Channels after the first halving; doubled with each further one."""
    widest: Width = 512
    """The most channels."""
    join_at: Annotated[int, Field(ge=_LAST_SIDE, le=2**10)] = 16
    """Side of the maps that frames are joined at, over their channels, of which each frame gives
    half of its own."""
    blocks: Annotated[int, Field(ge=0, le=100)] = 1
    """Residual blocks after each halving; 0 for none, as in DCGAN."""
    time_embedding: Width = 256
    """Length of the embedding of a difference of times."""

    def build(self, image: ImageShape, frames: int, span: int, classes: int) -> nn.Module:
        """A `SparseDiscriminator`.

        Args:
            image: shape of a frame.
            frames: of a clip.
            span: the largest difference of times.
            classes: number of labels, 0 for an unconditional network.

        Raises:
            UserError: for frames that cannot be halved down to where they are joined.
        """
        return SparseDiscriminator(image, frames, span, classes, self)


class SparseDiscriminator(nn.Module):
    """Halving convolutions on each frame; on all of them together; a logit that knows the times.

    The logit is a linear function of the last features f, and adds <e, f> for an embedding e of the
    differences of the times, and one of the label, both as in Miyato and Koyama, "cGANs with
    Projection Discriminator" (2018), equation 3. There are no batch statistics.
    """

    def __init__(
        self,
        image: ImageShape,
        frames: int,
        span: int,
        classes: int,
        settings: SparseDiscriminatorSettings,
    ) -> None:
        super().__init__()
        sides = _sides(image, settings.join_at)
        steps = len(sides) - 1
        widths = [min(settings.width << step, settings.widest) for step in range(steps)]
        alone = sum(min(side) >= settings.join_at for side in sides[1:])
        shared = max(1, widths[alone - 1] // 2)
        depth = max(1, settings.blocks * steps)

        def stage(step: int, inputs: int, outputs: int) -> list[nn.Module]:
            plan = StagePlan(sides[step + 1], outputs, 1, settings.blocks, False)
            blocks = (ResidualBlock(plan, 1, depth) for _ in range(settings.blocks))
            return [_convolution(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE), *blocks]

        channels = [image.channels, *widths[: alone - 1], shared]
        self.alone = nn.Sequential(
            *(each for step, ends in enumerate(pairwise(channels)) for each in stage(step, *ends))
        )
        channels = [frames * shared, *widths[alone:]]
        self.together = nn.Sequential(
            *(e for step, ends in enumerate(pairwise(channels), alone) for e in stage(step, *ends))
        )
        height, width = sides[-1]
        features = widths[-1]
        self.last = nn.Linear(channels[-1] * height * width, features)
        self.logit = nn.Linear(features, 1)
        _scaled(self.last, GAIN)
        _scaled(self.logit, 1.0)
        self.activation = nn.LeakyReLU(SLOPE)
        self.times = DifferenceEmbedding(frames - 1, span, settings.time_embedding, features)
        self.projection = Projection(features, classes) if classes else None

    def forward(self, frames: Tensor, times: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of clips.

        Args:
            frames: float (n, k, c, h, w) in [-1, 1].
            times: of the frames, in stored frames, float (n, k).
            labels: int64 (n,) or None.

        Returns:
            float (n,).
        """
        maps = self.alone(frames.flatten(0, 1))
        maps = self.together(maps.reshape(*frames.shape[:2], *maps.shape[1:]).flatten(1, 2))
        features = self.activation(self.last(maps.flatten(1)))
        embedded = self.times(times.diff(dim=1))
        logits: Tensor = self.logit(features).squeeze(1) + (embedded * features).sum(1)
        if self.projection is not None:
            logits = logits + self.projection(features, labels)
        return logits


class DifferenceEmbedding(nn.Module):
    """A vector of differences of times: for each a learned embedding of the nearest whole number,
    beside sines and cosines of it, and a layer over all of them."""

    def __init__(self, count: int, span: int, size: int, features: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(span + 1, size)
        self.mix = nn.Linear(count * (size + 2 * _OCTAVES), features)
        self.activation = nn.LeakyReLU(SLOPE)
        self.last = nn.Linear(features, features)
        _scaled(self.mix, GAIN)
        # So that <e, f> is as large as the other part of the logit.
        _scaled(self.last, 1 / sqrt(features))

    def forward(self, differences: Tensor) -> Tensor:
        """In stored frames, float (n, count) -> float (n, features)."""
        nearest = differences.round().long().clamp(0, self.embed.num_embeddings - 1)
        octaves = torch.arange(_OCTAVES, device=differences.device, dtype=differences.dtype)
        waves = differences.unsqueeze(2) * (pi / torch.exp2(octaves))
        each = torch.cat([self.embed(nearest), waves.sin(), waves.cos()], 2)
        embedded: Tensor = self.last(self.activation(self.mix(each.flatten(1))))
        return embedded


def _sides(image: ImageShape, join_at: int) -> list[tuple[int, int]]:
    """Sizes of the maps, (height, width), from the frame's down to the last."""
    sides = [(image.height, image.width)]
    while all(each % 2 == 0 for each in sides[-1]) and min(sides[-1]) >= 2 * _LAST_SIDE:
        sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
    if len(sides) < 2 or min(sides[1]) < join_at:
        raise UserError(
            f"--discriminator.network.join_at {join_at}: frames are halved at least once before "
            f"they are joined, and these are {image.height}x{image.width}; take "
            f"{_LAST_SIDE} for frames with even sides of at least {2 * _LAST_SIDE}, or resize them"
        )
    return sides


def _convolution(inputs: int, outputs: int, size: int, stride: int, padding: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, size, stride, padding)
    _scaled(layer, GAIN)
    return layer


def _scaled(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    nn.init.normal_(layer.weight, 0.0, gain / sqrt(layer.weight[0].numel()))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
