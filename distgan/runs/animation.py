"""Clips as pictures that move: playing side by side, and small enough to be kept and sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distgan.runs.film import description, encode
from distgan.runs.grid import SMALLEST, grid

MOST_BYTES = 1_500_000
"""Size of a small animation, kept by showing fewer clips, and then fewer frames."""
_MOST_PIXELS = 1 << 22
"""Of all its frames together: a second or two of work."""
_QUALITY, _EFFORT = 80, 1
"""A tenth larger than with Pillow's default effort, in half of the time."""
_SAID = re.compile(
    r"(\d{1,9}) of (\d{1,9}) clips, (\d{1,9}) of (\d{1,9}) frames, (\d{1,9}(?:\.\d{1,9})?) a second"
)


@dataclass(frozen=True)
class Extent:
    """What a small animation shows of the clips that it was made of."""

    clips: int
    all_clips: int
    frames: int
    all_frames: int
    fps: float

    def __str__(self) -> str:
        return (
            f"{self.clips} of {self.all_clips} clips, {self.frames} of {self.all_frames} frames, "
            f"{self.fps:.9g} a second"
        )


def extent(content: bytes) -> Extent | None:
    """What a file of `small` shows, as it says itself; None of any other file."""
    found = _SAID.fullmatch(description(content))
    if found is None:
        return None
    return Extent(int(found[1]), int(found[2]), int(found[3]), int(found[4]), float(found[5]))


def side_by_side(
    clips: NDArray[np.uint8], columns: int, names: Sequence[str] = (), smallest: int = SMALLEST
) -> Iterator[Image.Image]:
    """The frames of clips that play at the same time, each a `grid`, enlarged by whole factors.

    Args:
        clips: uint8 (n, frames, h, w, c).
        names: of the columns; see `grid`.
        smallest: pixels across; see `grid`.
    """
    for frame in range(clips.shape[1]):
        yield grid(clips[:, frame], columns, names, smallest=smallest)


def small(clips: NDArray[np.uint8], fps: float, columns: int = 5) -> bytes:
    """An animated WEBP of clips side by side, pixel by pixel as they are.

    Of the first clips as many are shown as fit into `MOST_BYTES`; where one alone is too large, of
    that as many of the first frames. It says so itself: see `extent`.

    Args:
        clips: uint8 (n, frames, h, w, c).
        fps: frames a second that it plays at.
    """
    count, frames = clips.shape[:2]
    count, frames = _fewer(count, frames, clips.size / clips.shape[-1] / _MOST_PIXELS)
    while True:
        shown = clips[:count, :frames]
        pictures = side_by_side(shown, min(columns, count), smallest=1)
        said = str(Extent(count, len(clips), frames, clips.shape[1], fps))
        content = encode(pictures, "webp", fps, quality=_QUALITY, effort=_EFFORT, said=said)
        if len(content) <= MOST_BYTES or (count, frames) == (1, 1):
            return content
        count, frames = _fewer(count, frames, len(content) / MOST_BYTES)


def _fewer(count: int, frames: int, excess: float) -> tuple[int, int]:
    """Clips and frames of something that is so many times too large; the same up to once."""
    if excess <= 1:
        return count, frames
    if count > 1:
        # Of what one clip is still too large for, the rest is taken from the frames.
        fewer = max(1, int(count / excess))
        return fewer, frames if fewer > 1 else _shorter(frames, excess / count)
    return 1, max(1, min(frames - 1, _shorter(frames, excess)))


def _shorter(frames: int, excess: float) -> int:
    return max(1, int(frames / max(1.0, excess)))


def enlarged(width: int, columns: int) -> bool:
    """Whether `side_by_side` enlarges clips of so many pixels across."""
    return round(SMALLEST / (columns * (width + 1) - 1)) > 1
