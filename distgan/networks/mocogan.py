"""The networks of MoCoGAN: a generator of clips from content and motion, and two discriminators.

Tulyakov et al., "MoCoGAN: Decomposing Motion and Content for Video Generation" (CVPR 2018),
sections 3 and 4, for frames of any size that halves evenly and clips of any length. A clip is
float (n, frames, c, h, w) in [-1, 1].
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.config.shape import ImageShape
from distgan.networks.base import halvings
from distgan.networks.normalisation import Norm, needs_bias, normalisation

Kind = Literal["full", "patch"]
_MOST_LAYERS = 4
"""Of a discriminator of patches, as published: a logit sees 46 pixels a side."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MoCoGANGeneratorSettings:
    """A recurrent cell that makes a motion code for each frame, and a DCGAN that draws frames."""

    content: Width = 50
    """Length of the content code, which all frames of a clip share."""
    motion: Width = 10
    """Length of the motion code, and of the noise that the cell is given at each frame."""
    width: Width = 64
    """Channels at the last hidden layer; doubled at each layer towards the codes."""
    norm: Norm = "batch"
    """Normalisation: batch, instance, group or none. All but batch treat every frame alone."""

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """The generator of clips whose frames have a shape, of ``classes`` categories or none.

        Raises:
            UserError: for frames that cannot be halved.
        """
        return MoCoGANGenerator(image, classes, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrameDiscriminatorSettings:
    """Convolutions of stride 2 over one frame."""

    kind: Kind = "patch"
    """patch: a logit for each overlapping patch of the frame. full: one for the whole of it."""
    width: Width = 64
    """Channels of the first layer; doubled at each further layer."""
    norm: Norm = "batch"
    """Normalisation behind all but the first layer: batch, instance, group or none."""

    def build(self, image: ImageShape) -> nn.Module:
        """The discriminator of frames of a shape.

        Raises:
            UserError: for frames that cannot be halved.
        """
        return FrameDiscriminator(image, self)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ClipDiscriminatorSettings:
    """Convolutions over frames and pixels of a clip, of stride 2 over the pixels."""

    kind: Kind = "full"
    """full: a logit for the whole clip. patch: one for each overlapping patch of pixels and frames.
    """
    width: Width = 64
    """Channels of the first layer; doubled at each further layer."""
    norm: Norm = "batch"
    """Normalisation behind all but the first layer: batch, instance, group or none."""

    def build(self, image: ImageShape, frames: int, classes: int) -> nn.Module:
        """The discriminator of clips of so many frames, with logits of ``classes`` categories.

        Raises:
            UserError: for frames that cannot be halved.
        """
        return ClipDiscriminator(image, frames, classes, self)


class MoCoGANGenerator(nn.Module):
    """[content; category; motion of the frame] to a frame, for each frame of each clip.

    The motion code of frame t is the state h_t = GRU(e_t, h_{t-1}) of a recurrent cell, where h_0
    and all e_t are standard normal (section 3.1). Frames of all times go through the convolutions
    as one batch.
    """

    def __init__(self, image: ImageShape, classes: int, settings: MoCoGANGeneratorSettings) -> None:
        super().__init__()
        self.classes, self.image = classes, image
        self.cell = nn.GRUCell(settings.motion, settings.motion)
        steps = halvings(image)
        channels = [settings.width << power for power in reversed(range(steps))]
        inputs = settings.content + classes + settings.motion
        seed = (image.height >> steps, image.width >> steps)
        norm, bias = settings.norm, needs_bias(settings.norm)
        layers: list[nn.Module] = []
        for number, outputs in enumerate(channels):
            size, stride, padding = (4, 2, 1) if number else (seed, 1, 0)
            layers.append(nn.ConvTranspose2d(inputs, outputs, size, stride, padding, bias=bias))
            layers += [normalisation(norm, outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        layers.append(nn.ConvTranspose2d(inputs, image.channels, 4, 2, 1, bias=False))
        self.layers = nn.Sequential(*layers, nn.Tanh())
        _initialise(self)

    def forward(
        self,
        content: Tensor,
        start: Tensor,
        noise: Tensor,
        labels: Tensor | None = None,
        times: Tensor | None = None,
    ) -> Tensor:
        """Clips, float (n, frames, c, h, w) in [-1, 1].

        Args:
            content: float (n, content).
            start: h_0, float (n, motion).
            noise: e_1, e_2 and so on, float (n, steps * motion).
            labels: categories, int64 (n,), of a generator that has any.
            times: int64 (n, frames), which of the steps become frames; without, all of them.
        """
        motion = self._motion(start, noise.view(len(noise), -1, start.shape[1]))
        if times is not None:
            motion = motion.gather(1, times[:, :, None].expand(-1, -1, motion.shape[2]))
        fixed = [content]
        if self.classes:
            assert labels is not None, "a conditional generator needs labels"
            # torch's one_hot looks at the labels, for which a device would be waited for.
            categories = torch.arange(self.classes, device=labels.device)
            fixed.append((labels[:, None] == categories).to(content.dtype))
        kept = torch.cat(fixed, 1)[:, None].expand(-1, motion.shape[1], -1)
        codes = torch.cat([kept, motion.to(kept.dtype)], 2).flatten(0, 1)
        frames: Tensor = self.layers(codes[:, :, None, None])
        return frames.view(*motion.shape[:2], *self.image)

    def _motion(self, start: Tensor, noise: Tensor) -> Tensor:
        """h_1, h_2 and so on: float (n, steps, motion)."""
        states, state = [], start
        # Recurrence adds up rounding, and costs next to nothing.
        with _exact(start.device):
            for each in noise.unbind(1):
                state = self.cell(each, state)
                states.append(state)
        return torch.stack(states, 1)


class FrameDiscriminator(nn.Module):
    """4x4 convolutions of stride 2 and leaky ReLU 0.2; a norm behind all but first and last."""

    def __init__(self, image: ImageShape, settings: FrameDiscriminatorSettings) -> None:
        super().__init__()
        hidden = _hidden_layers(image, settings.kind)
        self.layers = nn.Sequential()
        inputs = image.channels
        for layer in range(hidden):
            outputs = settings.width << layer
            bias = layer > 0 and needs_bias(settings.norm)
            self.layers.append(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=bias))
            if layer:
                self.layers.append(normalisation(settings.norm, outputs))
            self.layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.full = settings.kind == "full"
        if self.full:
            seed = (image.height >> hidden, image.width >> hidden)
            self.layers.append(nn.Conv2d(inputs, 1, seed, bias=False))
        else:
            self.layers.append(nn.Conv2d(inputs, 1, 4, 2, 1, bias=False))
        _initialise(self)

    def forward(self, frames: Tensor) -> Tensor:
        """float (n, c, h, w) in [-1, 1] -> logits, float (n,), or of patches (n, 1, h', w')."""
        logits: Tensor = self.layers(frames)
        return logits.flatten() if self.full else logits


class ClipDiscriminator(nn.Module):
    """As `FrameDiscriminator`, over four frames at a time too, without stride or padding.

    Where so few frames would be left that those behind could not take four, layers take three and
    keep the number by padding; the published network of 16 frames of 64x64 has none of these. The
    last layer of a full one takes all frames that are left.
    """

    def __init__(
        self, image: ImageShape, frames: int, classes: int, settings: ClipDiscriminatorSettings
    ) -> None:
        super().__init__()
        hidden = _hidden_layers(image, settings.kind)
        self.layers = nn.Sequential()
        inputs = image.channels
        for layer in range(hidden):
            outputs = settings.width << layer
            bias = layer > 0 and needs_bias(settings.norm)
            over, padding, frames = _over_time(frames)
            self.layers.append(
                nn.Conv3d(inputs, outputs, (over, 4, 4), (1, 2, 2), (padding, 1, 1), bias=bias)
            )
            if layer:
                self.layers.append(normalisation(settings.norm, outputs, dimensions=3))
            self.layers.append(nn.LeakyReLU(0.2, inplace=True))
            inputs = outputs
        self.full = settings.kind == "full"
        if self.full:
            size = (frames, image.height >> hidden, image.width >> hidden)
            last = nn.Conv3d(inputs, 1 + classes, size, bias=False)
        else:
            over, padding, _ = _over_time(frames)
            size, pad = (over, 4, 4), (padding, 1, 1)
            last = nn.Conv3d(inputs, 1 + classes, size, (1, 2, 2), pad, bias=False)
        self.layers.append(last)
        _initialise(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits of clips.

        Args:
            clips: float (n, frames, c, h, w) in [-1, 1].

        Returns:
            float (n,), or with categories (n, 1 + classes); of patches (n, 1 + classes, t, h', w').
        """
        logits: Tensor = self.layers(clips.transpose(1, 2))
        if not self.full:
            return logits
        return logits.flatten() if logits.shape[1] == 1 else logits.flatten(1)


def _hidden_layers(image: ImageShape, kind: Kind) -> int:
    """Halvings in front of the last layer."""
    possible = halvings(image)
    # Of patches the last layer halves too.
    return possible if kind == "full" else min(possible, _MOST_LAYERS - 1)


def _over_time(frames: int) -> tuple[int, int, int]:
    """Frames that a layer takes at once, padding of them at each end, and how many it leaves."""
    return (4, 0, frames - 3) if frames >= 7 else (3, 1, frames)


def _exact(device: torch.device) -> torch.autocast:
    return torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False)


def _initialise(network: nn.Module) -> None:
    """As of a DCGAN (Radford et al. 2016, section 4); the recurrent cell starts as torch has it."""
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)) and part.affine:
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)
