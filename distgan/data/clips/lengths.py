"""Which frames of a source's clip become clips of the set: rate, shortest length and cutting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distgan.data.decoder import BadImageError

USUAL_FPS = 25.0
"""Frames a second of a set whose source says nothing of them."""
_SAME = 0.01
"""Rates that differ by less are the same: 29.97 and 30."""


@dataclass(frozen=True)
class Lengths:
    """How long the clips of a set are, and at which rate.

    Args:
        frames: that a clip must have; None for two.
        short: ``drop`` or ``loop`` those with fewer.
        cut: cut longer ones into clips of so many; None leaves them whole.
        fps: of all clips; frames of faster ones are left out.
        resample: whether clips of other rates are brought to ``fps``.
    """

    frames: int | None
    short: str
    cut: int | None
    fps: float
    resample: bool

    @property
    def shortest(self) -> int:
        """Frames that every clip of the set has."""
        return self.frames or self.cut or 2

    def pieces(self, length: int, fps: float | None) -> list[NDArray[np.int64]]:
        """Numbers of the frames of each clip that is made of one of the source.

        None where it is too short and ``short`` drops it.

        Args:
            length: frames of the source's clip.
            fps: their rate; None where the source does not say, and ``fps`` of the set is meant.

        Raises:
            BadImageError: for a clip without movement, or of another rate.
        """
        if length < 2:
            what = "a clip of one frame" if length else "a clip without frames"
            raise BadImageError(f"{what}; a clip has two or more")
        taken = self.taken(length, fps)
        size = self.cut or len(taken)
        found = [taken[start : start + size] for start in range(0, len(taken), size)]
        # A frame alone would not move, however often it is repeated.
        short = [each for each in found if 2 <= len(each) < self.shortest]
        kept = [each for each in found if len(each) >= self.shortest]
        if self.short == "loop":
            kept += [each[np.arange(self.shortest) % len(each)] for each in short]
        return kept

    def taken(self, length: int, fps: float | None) -> NDArray[np.int64]:
        """Numbers of the frames at the set's rate: each the nearest in time to its own.

        Args and what is raised are those of `pieces`.
        """
        fps = fps or self.fps
        if abs(fps / self.fps - 1) < _SAME:
            return np.arange(length)
        if not self.resample:
            raise BadImageError(
                f"is of {fps:g} frames a second, but the first clip is of {self.fps:g} (give --fps "
                "to take the frames of all at one rate)"
            )
        if fps < self.fps:
            raise BadImageError(
                f"is of {fps:g} frames a second, fewer than --fps {self.fps:g}; take {fps:g} or "
                "less"
            )
        step = fps / self.fps
        numbers = (np.arange(int(length / step) + 2) * step + 0.5).astype(np.int64)
        return numbers[numbers < length]
