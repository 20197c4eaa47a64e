"""A small 3-D network that sees how clips move, shipped with its weights.

`distgan.features.train_motion` made it. A Frechet distance on its features is what the FVD of
Unterthiner et al., "Towards Accurate Generative Models of Video" (2018), is on those of a network
that names actions. That network goes by what is in a frame: spoiling the order of frames changes
its distance little (Ge et al., "On the Content Bias in Frechet Video Distance", CVPR 2024). This
one learned nothing but motion, of things of every look, so it is small, and sees spoiled motion.
"""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distgan.features.base import Extractor

FRAMES, SIDE, SIZE = 16, 32, 64
"""Frames and pixels of a side that the network takes, and the length of its features."""
_WIDTHS = ((16, (1, 2, 2)), (32, (2, 2, 2)), (64, (2, 2, 2)), (128, (2, 2, 2)))
"""Of each convolution: its channels, and its strides over time, rows and columns."""


class MotionNetwork(nn.Module):
    """Four 3-D convolutions to 2 frames of 2x2, 64 features, and what is told of the motion.

    Args:
        told: how many numbers it tells.
        kinds: how many ways of spoiling a motion it tells apart.
    """

    deviation: Tensor

    def __init__(self, told: int, kinds: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 2
        for outputs, strides in _WIDTHS:
            layers += [nn.Conv3d(inputs, outputs, 3, strides, 1, bias=False)]
            layers += [nn.BatchNorm3d(outputs), nn.ReLU()]
            inputs = outputs
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 8, SIZE), nn.ReLU())
        self.told, self.kind = nn.Linear(SIZE, told), nn.Linear(SIZE, kinds)
        # As of the small classifiers: features are divided by their standard deviation.
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of float (n, 16, 32, 32) in [-1, 1] features (n, 64), numbers and logits of kinds."""
        # Beside each frame how it differs from the one before: what stands still is 0 in it.
        changes = clips.diff(dim=1, prepend=clips[:, :1])
        features = self.body(torch.stack([clips, changes], 1))
        return features / self.deviation, self.told(features), self.kind(features)


class _OverWindows(nn.Module):
    def __init__(self, network: MotionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """Of float (n, windows, 16, 32, 32) the mean of the windows' features: (n, 64)."""
        features: Tensor = self.network(windows.flatten(0, 1))[0]
        return features.view(*windows.shape[:2], -1).mean(1)


class _Prepare(nn.Module):
    def forward(self, clips: Tensor) -> Tensor:
        """uint8 (n, frames, c, h, w) to float (n, windows, 16, 32, 32) in [-1, 1]."""
        found = clips.float().mean(2)
        if found.shape[2:] != (SIDE, SIDE):
            found = interpolate(found, (SIDE, SIDE), mode="bilinear", antialias=True)
        return (found * (2 / 255) - 1)[:, windows_of(found.shape[1]).to(found.device)]


def windows_of(frames: int) -> Tensor:
    """Which frames of a clip of so many the network sees at a time: int64 (windows, 16).

    A longer clip is seen in as few windows as cover it, spread evenly. A shorter one is played
    forth and back, so that things go on moving as fast as they do.

    Raises:
        ValueError: for fewer than two frames.
    """
    if frames < 2:
        raise ValueError(f"nothing moves in {frames} frame")
    if frames <= FRAMES:
        turn = torch.arange(FRAMES) % (2 * frames - 2)
        return torch.minimum(turn, 2 * frames - 2 - turn)[None]
    starts = torch.linspace(0, frames - FRAMES, -(-frames // FRAMES)).round().long()
    return starts[:, None] + torch.arange(FRAMES)


def trained() -> MotionNetwork:
    """The network that the package ships.

    Raises:
        FileNotFoundError: when the package has no weights for it.
    """
    file = resources.files("distgan.features") / "weights" / "motion.safetensors"
    tensors = load_tensors(file.read_bytes())
    network = MotionNetwork(len(tensors["told.bias"]), len(tensors["kind.bias"]))
    network.load_state_dict(tensors)
    return network


def motion_extractor() -> Extractor:
    """What maps uint8 (n, frames, c, h, w) to features of motion, float32 (n, 64).

    Frames are of 32 pixels a side or more, and there are two or more. Raises what `trained` does.
    """
    return Extractor(
        _OverWindows(trained()),
        "small 3-D network, motion",
        SIZE,
        preprocessing=(
            f"mean of the channels; bilinear with antialiasing to {SIDE}x{SIDE}; [-1, 1]; windows "
            f"of {FRAMES} frames, a shorter clip played forth and back"
        ),
        prepare=_Prepare(),
    )
