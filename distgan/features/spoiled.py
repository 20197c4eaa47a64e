"""What metrics of clips say of clips whose motion is spoiled more and more: a table.

    python -m distgan.features.spoiled --clips 500

Shuffled, frozen and mixed clips consist of the frames of real ones, so a metric of frames sees no
difference, and a metric of clips has to rise with the strength. This is what FVD fails at (Ge et
al., "On the Content Bias in Frechet Video Distance", CVPR 2024).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distgan.data.clips.moving import MOVING, open_moving
from distgan.features import load
from distgan.features.motion import FRAMES, motion_extractor
from distgan.features.moving_digits import keep
from distgan.metrics import frechet, motion
from distgan.metrics.moments import Moments

_READ = 100
"""Clips whose digits are read."""


def shuffled(clips: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """This share of each clip's frames change places with each other."""
    found = clips.clone()
    frames = clips.shape[1]
    for clip, spoiled in zip(clips, found, strict=True):
        some = torch.randperm(frames, generator=draw)[: round(strength * frames)]
        spoiled[some] = clip[some[torch.randperm(len(some), generator=draw)]]
    return found


def frozen(clips: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """In this share of the clip, in one piece, one of its frames stands still."""
    found = clips.clone()
    frames = clips.shape[1]
    length = max(1, round(strength * frames))
    for clip, spoiled in zip(clips, found, strict=True):
        start = int(torch.randint(frames - length + 1, (), generator=draw))
        still = start + int(torch.randint(length, (), generator=draw))
        spoiled[start : start + length] = clip[still]
    return found


def mixed(clips: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """This share of the frames are those of another clip at the same time."""
    found = clips.clone()
    for time in range(clips.shape[1]):
        some = torch.randperm(len(clips), generator=draw)[: round(strength * len(clips))]
        found[some, time] = clips[some.roll(1), time]
    return found


def noisy(clips: Tensor, strength: float, draw: torch.Generator) -> Tensor:
    """Each pixel has normal noise of this deviation, of pixels in [0, 1]."""
    noise = torch.randn(clips.shape, generator=draw) * (255 * strength)
    return (clips + noise).round_().clamp_(0, 255).byte()


Spoiling = Callable[[Tensor, float, torch.Generator], Tensor]
"""Of uint8 (n, frames, c, h, w) and a strength; the clips given stay as they are."""
SPOILINGS: dict[str, tuple[Spoiling, tuple[float, ...]]] = {
    "shuffled": (shuffled, (0.25, 0.5, 1.0)),
    "frozen": (frozen, (0.25, 0.5, 1.0)),
    "mixed": (mixed, (0.25, 0.5, 1.0)),
    "noisy": (noisy, (0.02, 0.05, 0.15)),
}
"""By name, with the strengths of the table."""


class Judged(NamedTuple):
    """What metrics say of some clips beside others that are real."""

    frame_frechet: float
    """By the digit classifier, of one random frame of each clip."""
    clip_frechet: float
    difference_distance: float
    speed_distance: float
    digits_kept: float


class Judge:
    """Compares clips with real ones.

    Args:
        real: uint8 (n, frames, 1, h, w), moving digits.
        digits: how many of them there are in a clip.
    """

    def __init__(self, real: Tensor, digits: int) -> None:
        self._classifier, self._motion = load("mnist"), motion_extractor()
        self._real, self._digits = real, digits
        self._frames = self._moments_of_frames(real)
        self._clips = Moments.of(self._motion(real).features)

    def __call__(self, clips: Tensor) -> Judged:
        """Judge clips of the shape of the real ones."""
        return Judged(
            frechet.distance(self._frames, self._moments_of_frames(clips)),
            frechet.distance(self._clips, Moments.of(self._motion(clips).features)),
            _distance(motion.frame_differences, self._real, clips),
            _distance(motion.speeds, self._real, clips),
            keep(clips[:_READ], self._digits, self._classifier).mean().item(),
        )

    def _moments_of_frames(self, clips: Tensor) -> Moments:
        draw = torch.Generator().manual_seed(1)
        chosen = torch.randint(clips.shape[1], (len(clips),), generator=draw)
        frames = clips[torch.arange(len(clips)), chosen]
        return Moments.of(self._classifier(frames).features)


def _distance(numbers: Callable[[Tensor], Tensor], one: Tensor, other: Tensor) -> float:
    return motion.wasserstein(numbers(one).flatten(), numbers(other).flatten())


def real_sides(name: str, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two times so many clips of a set by name, 16 frames each: uint8 (n, 16, 1, h, w)."""
    source = open_moving(name, "train", 2 * count, seed)
    clips = [source.clip(number)[:FRAMES] for number in range(2 * count)]
    whole = torch.from_numpy(np.stack(clips)).permute(0, 1, 4, 2, 3)
    return whole[:count], whole[count:]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=list(MOVING), default="moving-mnist-small")
    parser.add_argument("--clips", type=int, default=500, help="on each side [500]")
    parser.add_argument("--seed", type=int, default=0, help="[0]")
    options = parser.parse_args()
    real, other = real_sides(options.data, options.clips, options.seed)
    judge = Judge(real, MOVING[options.data].digits)
    titles = ("clips", "strength", *(name.replace("_", "-") for name in Judged._fields))
    print(f"| {' | '.join(titles)} |\n|---|---|{'---:|' * len(Judged._fields)}")
    print(_row("real", "", judge(other)), flush=True)
    for name, (spoil, strengths) in SPOILINGS.items():
        for strength in strengths:
            draw = torch.Generator().manual_seed(options.seed)
            print(_row(name, f"{strength:g}", judge(spoil(other, strength, draw))), flush=True)


def _row(name: str, strength: str, found: Judged) -> str:
    numbers = (
        f"{found.frame_frechet:.3f}",
        f"{found.clip_frechet:.3f}",
        f"{found.difference_distance:.4f}",
        f"{found.speed_distance:.3f}",
        f"{found.digits_kept:.2f}",
    )
    return f"| {' | '.join((name, strength, *numbers))} |"


if __name__ == "__main__":
    main()
