"""Clips of pictures that stand still: a window that moves over each.

The motion is that of a camera and known exactly. The window starts anywhere in the image, moves
straight on at one speed and is reflected at the image's edges, as a ball is. Start, direction and
speed are uniform. A frame is what the window shows when it is moved to whole pixels, halves
upwards, so that its pixels are the image's own: to interpolate would blur some frames more than
others, which flickers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from distgan import draws
from distgan.data.clips.base import ClipItem
from distgan.data.decoder import BadImageError
from distgan.data.sources.base import ImageData, Item, Source, Unreadable
from distgan.data.transform import Transform
from distgan.errors import UserError

FRAMES = 16
FPS = 10.0
SLOWEST, FASTEST = 1.0, 3.0
"""Pixels a frame. Slower ones would rest in some frames, as their pixels are whole; at the highest
speed a 64 px window shows another part of the image after two seconds."""
ROOM = 3
"""Pixels by which images must exceed the window each way, so that no step is reflected twice."""
_AT_ONCE = 64
"""Images of the source that are in memory."""


class PannedImages:
    """Clips of a source's images; clip number n is of image n modulo the number of images.

    A damaged image, or one that is too small, gives a clip of one unreadable frame, which counts
    as bad.

    Args:
        source: the images; clips have their labels.
        frames: of every clip.
        size: height and width of the window.
        count: how many clips there are.
    """

    kind = "panning"

    def __init__(
        self, source: Source, frames: int, size: tuple[int, int], count: int, seed: int
    ) -> None:
        self.count, self.classes, self.frames, self.size = count, source.classes, frames, size
        self._source, self._seed = source, seed
        left_out = [name for name in ("captions", "pairs") if getattr(source, name)]
        self.notes = source.notes
        if left_out:
            self.notes += (f"left out: {' and '.join(left_out)}, which clips do not have",)

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these ascending numbers: frames uint8 (height, width, c) each."""
        for start in range(0, len(numbers), _AT_ONCE):
            here = numbers[start : start + _AT_ONCE]
            wanted, places = np.unique(here % self._source.count, return_inverse=True)
            items = self._source.read(wanted)
            for number, place in zip(here.tolist(), places.tolist(), strict=True):
                yield self._clip(number, items[place])

    def _clip(self, number: int, item: Item) -> ClipItem:
        frames: list[ImageData]
        try:
            image = Transform().pixels(item.image)
            height, width = self.size
            frames = [
                image[top : top + height, left : left + width]
                for top, left in whole(self.positions(number, image.shape[:2])).tolist()
            ]
        except BadImageError as damage:
            frames = [Unreadable(str(damage))]
        return ClipItem(frames, f"{item.where}, clip {number}", item.label, FPS)

    def positions(self, number: int, image: tuple[int, ...]) -> NDArray[np.float64]:
        """Where the window's upper left corner is, down and across, before it is rounded.

        Args:
            number: of the clip.
            image: height and width of what it is cut from.

        Returns:
            float64 (frames, 2), in pixels.

        Raises:
            BadImageError: for an image that leaves the window no room to move.
        """
        room = np.array(image, np.float64) - self.size
        if room.min() < ROOM:
            raise BadImageError(
                f"{_shown(image)} pixels hold no moving window of {_shown(self.size)}: images must "
                f"be {ROOM} larger each way; lower --size, or leave smaller ones out by --skip-bad"
            )
        drawn = draws.uniforms(self._seed, self.kind, [range(number, number + 1)], 4)[0]
        down, across, turn, pace = drawn.astype(np.float64).tolist()
        speed = SLOWEST + (FASTEST - SLOWEST) * pace
        angle = 2 * np.pi * turn
        step = speed * np.array([np.sin(angle), np.cos(angle)])
        straight = room * [down, across] + step * np.arange(self.frames)[:, None]
        # There and back again is twice the room.
        turned = straight % (2 * room)
        found: NDArray[np.float64] = np.minimum(turned, 2 * room - turned)
        return found


def whole(positions: NDArray[np.float64]) -> NDArray[np.int64]:
    """The pixels that corners are moved to."""
    return np.floor(positions + 0.5).astype(np.int64)


def _shown(size: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in size)


def open_panning(
    source: Source,
    frames: int | None,
    size: tuple[int, int] | None,
    count: int | None,
    seed: int,
) -> PannedImages:
    """Clips of the images of a source.

    Args:
        frames: of every clip; None for `FRAMES`.
        size: height and width of the window.
        count: number of clips; None for one of each image.

    Raises:
        UserError: without a size.
    """
    if size is None:
        raise UserError(
            "--clips panning: needs to know how large the window is that moves over the images; "
            "give --size, such as 64 or 48x64"
        )
    count = source.count if count is None else count
    return PannedImages(source, FRAMES if frames is None else frames, size, count, seed)
