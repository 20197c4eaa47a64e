"""Clips: what is known of a set of them, and which frames of a clip a sample sees.

Times are numbers of stored frames, from 0 for a clip's first; fractions lie between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass as plain
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from pydantic.dataclasses import dataclass

from distgan.config.settings import SETTINGS


class Clips(NamedTuple):
    """What is known of the clips of a set.

    ``shortest`` and ``longest`` are their lengths in frames, ``frames`` is the sum of all lengths,
    and ``fps`` are the frames a second that they are meant to be shown at.
    """

    shortest: int
    longest: int
    frames: int
    fps: float


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ClipSettings:
    """Frames of a clip that follow each other evenly."""

    frames: Annotated[int, Field(ge=2, le=4096)] = 16
    """How many frames a clip has."""
    stride: PositiveInt = 1
    """Stored frames from one of them to the next."""

    @property
    def rule(self) -> FrameRule:
        """The rule that chooses such frames, from a random start."""
        return FrameRule(self.frames, self.stride)


@plain(frozen=True)
class FrameRule:
    """Which frames of its clip a sample sees: a function of the clip's length and of numbers.

    With a ``span`` of 0 these are ``frames`` frames, ``stride`` apart, from a start that is
    uniform among those that fit. With a ``span`` they are sparse: the distance from the first to
    the last is one of the powers of two from ``frames`` - 1 to ``span``, the start is uniform
    among those that fit, and the others are any different frames between (Skorokhodov et al.,
    "StyleGAN-V", CVPR 2022, section 3.2, and its code). ``extra`` adds one frame at the end,
    uniform among all frames of the clip (MoCoGAN's image discriminator, Tulyakov et al. 2018).

    Raises:
        ValueError: for a span that holds not so many frames.
    """

    frames: int
    stride: int = 1
    span: int = 0
    extra: bool = False

    def __post_init__(self) -> None:
        if self.span and (self.frames < 2 or not self.distances):
            raise ValueError(f"a span of {self.span} holds no {self.frames} frames")

    @property
    def shown(self) -> int:
        """Frames that a sample sees, the extra one with them."""
        return self.frames + self.extra

    @property
    def shortest(self) -> int:
        """Frames that a clip must have."""
        return 1 + (max(self.distances) if self.span else (self.frames - 1) * self.stride)

    @property
    def numbers(self) -> int:
        """Uniform numbers that a sample consumes."""
        return 1 + self.extra + (self.frames - 1 if self.span else 0)

    @property
    def distances(self) -> list[int]:
        """From the first frame to the last, of sparse ones: powers of two, ascending."""
        powers = [1 << n for n in range(self.span.bit_length())]
        return [each for each in powers if self.frames - 1 <= each <= self.span]

    def choose(self, lengths: NDArray[np.int64], numbers: NDArray[np.float32]) -> NDArray[np.int64]:
        """Numbers of frames in their clips, int64 (n, shown), ascending but for the extra one.

        Args:
            lengths: of the clips, (n,), of at least ``shortest`` frames.
            numbers: of the samples, in (0, 1], (n, `numbers`).
        """
        last = self.differences(numbers) if self.span else self._even(len(lengths))
        start = below(numbers[:, 0], lengths - last[:, -1])
        found = start[:, None] + last
        if self.extra:
            found = np.concatenate([found, below(numbers[:, -1], lengths)[:, None]], 1)
        return found

    def differences(self, numbers: NDArray[np.float32]) -> NDArray[np.int64]:
        """Of sparse frames, the distance of each from the first: int64 (n, frames), ascending."""
        distances = np.array(self.distances, np.int64)
        whole = distances[below(numbers[:, 1], len(distances))]
        found = np.zeros((len(numbers), self.frames), np.int64)
        found[:, -1] = whole
        for place in range(1, self.frames - 1):
            # The r-th of those that are left, counted past the ones that are taken already.
            rank = 1 + below(numbers[:, 1 + place], whole - place)
            for taken in range(1, place):
                rank += rank >= found[:, taken]
            found[:, place] = rank
            found[:, 1 : place + 1].sort(1)
        return found

    def _even(self, count: int) -> NDArray[np.int64]:
        return np.tile(np.arange(self.frames, dtype=np.int64) * self.stride, (count, 1))


def below(numbers: NDArray[np.float32], ends: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Whole numbers from 0 to below ``ends``, of uniform ones in (0, 1]: int64 (n,)."""
    found = (numbers.astype(np.float64) * ends).astype(np.int64)
    return np.minimum(found, np.asarray(ends, np.int64) - 1)
