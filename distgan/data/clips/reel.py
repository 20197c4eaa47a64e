"""Frames of a clip that are read when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import overload

import numpy as np
from numpy.typing import NDArray

from distgan.data.decoder import BadImageError
from distgan.data.sources.base import ImageData, Unreadable

HELD_BYTES = 1 << 27
"""Decoded frames of one clip that are held in memory at most, in bytes: 128 MiB."""

Pixels = NDArray[np.uint8]
Play = Callable[[], Iterator[Pixels]]
"""Decodes a clip from its first frame on: uint8 (h, w, c)."""


class LazyFrames(Sequence[ImageData]):
    """A sequence of which each frame is read by itself."""

    @abstractmethod
    def frame(self, number: int) -> ImageData:
        """The frame of this number, from 0."""

    @overload
    def __getitem__(self, place: int) -> ImageData: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[ImageData]: ...

    def __getitem__(self, place: int | slice) -> ImageData | Sequence[ImageData]:
        """A frame, or a list of them."""
        numbers = range(len(self))[place]
        if isinstance(numbers, range):
            return [self.frame(number) for number in numbers]
        return self.frame(numbers)


class Reel(LazyFrames):
    """Frames that can only be decoded one after another, as those of a film.

    It is played once from its beginning to its end, to find its length and its damage. As many
    frames as fit into ``held_bytes`` stay in memory; for those after them it is played again,
    which is quick in ascending order only.

    Raises:
        BadImageError: for no frame, frames of several shapes, or what ``play`` raises.
    """

    def __init__(self, play: Play, held_bytes: int = HELD_BYTES) -> None:
        self._play, self._held = play, list[Pixels]()
        self._count, size, shape = 0, 0, (0, 0, 0)
        with closing(_Player(play)) as player:
            for frame in player.frames:
                if not self._count:
                    shape = frame.shape
                elif frame.shape != shape:
                    raise BadImageError(_mixed(self._count, frame.shape, shape))
                size += frame.nbytes
                if size <= held_bytes:
                    self._held.append(frame)
                self._count += 1
        if not self._count:
            raise BadImageError("holds no frame")
        self._player: _Player | None = None

    def __len__(self) -> int:
        return self._count

    def frame(self, number: int) -> ImageData:
        """Pixels, uint8 (h, w, c); `Unreadable` where its file is another by now."""
        if number < len(self._held):
            return self._held[number]
        if self._player is None or self._player.at > number:
            self.close()
            self._player = _Player(self._play)
        try:
            return self._player.forward(number)
        except BadImageError as error:
            return Unreadable(str(error))

    def close(self) -> None:
        """End the decoder that still runs, if any."""
        if self._player is not None:
            self._player.close()
            self._player = None

    def __del__(self) -> None:
        if getattr(self, "_player", None) is not None:
            self.close()


class _Player:
    """A film that is being played, ``at`` the frame that comes next."""

    def __init__(self, play: Play) -> None:
        self.frames, self.at = play(), 0

    def forward(self, number: int) -> Pixels:
        for frame in self.frames:
            self.at += 1
            if self.at > number:
                return frame
        raise BadImageError("is no longer there, as the file has changed; prepare the set again")

    def close(self) -> None:
        # A generator ends its program, if it started one.
        close = getattr(self.frames, "close", None)
        if close is not None:
            close()


def _mixed(number: int, shape: tuple[int, ...], first: tuple[int, ...]) -> str:
    here, before = (f"{h}x{w}x{c}" for h, w, c in (shape, first))
    return (
        f"frames of mixed sizes: frame {number} is {here}, but the first is {before} (height, "
        "width, channels)"
    )
