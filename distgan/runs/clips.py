"""A trained model that makes clips, of any length, ready to do so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from distgan.errors import UserError, brief
from distgan.families.clip_family import ClipFamily
from distgan.families.data import Batch, Draw
from distgan.runs.film import MOST_FRAMES
from distgan.runs.generator import BLOCK, Label, LoadedGenerator

SLOWEST, FASTEST = 0.01, 1e5
"""Least and most frames a second."""


@dataclass(frozen=True)
class LoadedClips(LoadedGenerator):
    """Networks ready to make clips; `at` says of what length and rate.

    Attributes:
        frames: of a clip; 0 for as many as the model learned to make.
        spacing: stored frames of the data from one frame to the next; 0 for the model's own.
    """

    frames: int = 0
    spacing: float = 0.0
    noun: ClassVar[str] = "clips"

    @property
    def clip_family(self) -> ClipFamily:
        """The family, as what it is."""
        assert isinstance(self.family, ClipFamily), "see distgan.runs.export"
        return self.family

    @property
    def length(self) -> int:
        """Frames of a clip that is made."""
        return self.frames or self.clip_family.config.clip.frames

    @property
    def fps(self) -> float:
        """Frames a second at which things move as fast as in the data."""
        return self._data_fps / self._spacing

    @property
    def any_rate(self) -> bool:
        """Whether frames can be made at other times than those of the data's frames."""
        return self.clip_family.continuous

    @property
    def _data_fps(self) -> float:
        clips = self.family.data.clips
        assert clips is not None, "ClipFamily.check_data sees to it"
        return clips.fps

    def at(self, frames: int = 0, fps: float = 0.0) -> LoadedClips:
        """The same networks for clips of another length or rate.

        Args:
            frames: of a clip; 0 for as many as now, which at first is what the model learned.
            fps: frames a second at which things move as fast as in the data; 0 for as now. Where
                the model makes frames at any times, as the family video does, a higher one puts
                them closer together. Other models have one rate only.

        Raises:
            UserError: for a length or rate that cannot be.
        """
        if not 0 <= frames <= MOST_FRAMES:
            raise UserError(f"--frames {brief(frames)}: should be 1 to {MOST_FRAMES:,}")
        if fps and not SLOWEST <= fps <= FASTEST:
            raise UserError(f"--fps {fps:g}: should be {SLOWEST:g} to {FASTEST:,.0f}")
        found = replace(self, frames=frames or self.frames)
        if not fps or math.isclose(fps, self.fps, rel_tol=1e-9):
            return found
        if not self.any_rate:
            raise UserError(
                f"--fps {fps:g}: this model makes {self.fps:g} frames a second and no others; "
                "leave fps out, and play them faster or slower"
            )
        return replace(found, spacing=self._data_fps / fps)

    def sample(
        self,
        num: int | range,
        *,
        frames: int = 0,
        fps: float = 0.0,
        seed: int = 0,
        label: Label | Sequence[Label] | None = None,
        truncation: float | None = None,
    ) -> Tensor:
        """Generate clips. Clip i of a seed, length and rate is always the same, to the bit.

        A longer one begins with the frames of a shorter one, up to rounding.

        Args:
            num: how many, from clip 0 on, or the numbers of the clips as a range of step 1.
            frames, fps: see `at`.
            seed, label, truncation: as of `LoadedGenerator.sample`.

        Returns:
            float32 (num, frames, channels, height, width) in [-1, 1].

        Raises:
            UserError: for a label that the model does not have, or a length or rate that cannot
                be.
        """
        if frames or fps:
            return self.at(frames, fps).sample(num, seed=seed, label=label, truncation=truncation)
        return super().sample(num, seed=seed, label=label, truncation=truncation)

    @property
    def inputs(self) -> Mapping[str, Draw]:
        """The draws that `images` are made of, by name."""
        return self.clip_family.inputs_of(self.length, self._spacing)

    @property
    def block(self) -> int:
        """How many clips are made at once: few enough for memory."""
        return min(BLOCK, self.clip_family.at_once(self.length))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a clip: frames, channels, height and width."""
        return (self.length, *self.image)

    def make(self, batch: Batch, seed: int) -> Tensor:
        """Of a whole block of inputs, float (n, frames, channels, height, width)."""
        return self.clip_family.make(self.networks, batch, self.length, self._spacing)

    @property
    def _spacing(self) -> float:
        return self.spacing or self.clip_family.config.clip.stride
