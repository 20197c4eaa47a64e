"""The interface of every source of clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import ImageData


@dataclass(frozen=True)
class ClipItem:
    """One clip of a source; ``where`` names it in errors.

    ``frames`` are encoded images or pixels, each by itself and read when it is asked for;
    ``fps`` are the frames a second that it was made for, or None where the source does not say.
    """

    frames: Sequence[ImageData]
    where: str
    label: int | None = None
    fps: float | None = None


class ClipSource(Protocol):
    """Clips in a fixed order. Sent to Ray tasks by pickle, so it holds no open file.

    ``classes`` names the labels 0, 1, ... and is empty for clips without labels. ``notes`` are
    lines for the user about how the source was interpreted, and which files were not used.
    """

    kind: str
    count: int
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these ascending numbers, one at a time in memory."""
        ...
