"""Clips of one .npy file, as Moving MNIST is published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.clips.base import ClipItem
from distgan.data.sources.base import Unreadable, regular
from distgan.data.sources.listing import beside
from distgan.data.sources.splits import files_of_split
from distgan.errors import UserError, brief, first_line, printable

ABOUT = (
    "a .npy file of uint8 clips: (frames, clips, height, width), as of Moving MNIST, (clips, "
    "frames, height, width), or (clips, frames, height, width, channels)"
)

_CHANNELS = (1, 3, 4)
_REMEDY = "save it as (clips, frames, height, width, channels), for gray with 1 channel"
_COMPARED = 64
"""Pairs of neighbours that are compared along each axis."""
_MUCH = 2.0
"""How many times as alike neighbours have to be to speak against the lengths of the axes."""


def open_stack(path: Path, split: str) -> StackSource:
    """The clips of a .npy file, or of that of a split in a folder of them.

    Raises:
        UserError: when it cannot be read, holds no clips, or may be read in several ways.
    """
    shown = printable(str(path))
    if path.is_dir():
        names = sorted(p.name for p in path.iterdir() if p.suffix.lower() == ".npy")
        if not names:
            raise UserError(f"{shown}: has no .npy file; looked for {ABOUT}")
        chosen, notes = files_of_split(names, split, shown)
        if len(chosen) > 1:
            several = ", ".join(printable(name) for name in chosen[:4])
            raise UserError(f"{shown}: has several .npy files ({several}); give the path of one")
        notes = (*notes, *beside(path, names, "files that are no .npy"))
        return StackSource(path / chosen[0], notes)
    if split != "train":
        raise UserError(f"{shown}: has no split {split}; a .npy file is one split, train")
    return StackSource(path)


class StackSource:
    """An array of clips, of which only the frames asked for are read.

    Args:
        path: of the .npy file.
        notes: see `ClipSource`.

    Raises:
        UserError: see `open_stack`.
    """

    kind = "stack"
    classes: tuple[str, ...] = ()

    def __init__(self, path: Path, notes: tuple[str, ...] = ()) -> None:
        self._path, self._shown = path.absolute(), printable(str(path))
        array = self._map()
        self._shape = array.shape
        self._order, note = layout_of(array, self._shown)
        self.count = array.shape[self._order[0]]
        self.notes = (note, *notes)

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these numbers; each frame is read when it is asked for."""
        try:
            array = self._map()
            if array.shape != self._shape:
                raise UserError(f"the file holds {array.shape} now, not {self._shape}")
        except UserError as error:
            bad = Unreadable(first_line(error))
            yield from (ClipItem((bad,), f"{self._shown}, clip {n}") for n in numbers.tolist())
            return
        clips = array.transpose(self._order)
        if clips.ndim == 4:
            clips = clips[..., None]
        for number in numbers.tolist():
            yield ClipItem(list(clips[number]), f"{self._shown}, clip {number}")

    def _map(self) -> NDArray[np.uint8]:
        """The array, of which the operating system reads what is used.

        Raises:
            UserError: when it is no .npy file of uint8.
        """
        try:
            if not regular(self._path):
                raise UserError(f"{self._shown}: is a pipe, device or socket; give a .npy file")
            array = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except UserError:
            raise
        except Exception as error:
            # The header is a Python literal, whose parser may raise any exception; of an array
            # of Python objects it is said here, as those would have to be unpickled.
            raise UserError(
                f"{self._shown}: cannot be read as clips ({first_line(error)}); save them as a "
                ".npy of uint8"
            ) from None
        if not isinstance(array, np.ndarray):
            array.close()
            raise UserError(f"{self._shown}: a .npz; save its array of clips as .npy")
        if array.dtype != np.uint8:
            raise UserError(
                f"{self._shown}: holds {brief(array.dtype)}; convert the pixels to uint8, 0 to 255"
            )
        return array


def layout_of(array: NDArray[np.uint8], shown: str) -> tuple[tuple[int, ...], str]:
    """The order of axes that makes it (clips, frames, height, width[, channels]), and a remark.

    Of five axes, clips come first; channels are last, or else before height and width. Of four,
    the shorter one of the first two is that of frames. Frames of one clip are more alike than
    those of several: where this clearly says otherwise, or both are of one length, it is asked.

    Args:
        shown: names the file.

    Raises:
        UserError: when there is no such order, or it is not clear.
    """
    shape, told = array.shape, ""
    if array.ndim == 5:
        order = _with_channels(shape, shown)
        told = ", channels before height and width" if order[4] == 2 else ""
    elif array.ndim == 4:
        order, told = _of_gray(array, shown)
    else:
        raise UserError(f"{shown}: of shape {shape}, not of clips; {_REMEDY}")
    count, frames, *size = (shape[axis] for axis in order)
    if 0 in shape or frames < 2:
        raise UserError(
            f"{shown}: of shape {shape}, which is {count} clips of {frames} frames of "
            f"{'x'.join(map(str, size))}; a clip has at least two frames"
        )
    frame = "x".join(map(str, size))
    return (
        order,
        f"read the array of shape {shape} as {count:,} clips of {frames} frames of {frame}{told}",
    )


def _with_channels(shape: tuple[int, ...], shown: str) -> tuple[int, ...]:
    if shape[4] in _CHANNELS:
        return 0, 1, 2, 3, 4
    if shape[2] in _CHANNELS:
        return 0, 1, 3, 4, 2
    raise UserError(
        f"{shown}: of shape {shape}, with {shape[4]} channels as (clips, frames, height, width, "
        "channels); 1, 3 and 4 are known"
    )


def _of_gray(array: NDArray[Any], shown: str) -> tuple[tuple[int, ...], str]:
    shape = array.shape
    if shape[3] in _CHANNELS or min(shape) == 0:
        raise UserError(f"{shown}: of shape {shape}, which may be images or one clip; {_REMEDY}")
    if shape[0] == shape[1]:
        raise UserError(f"{shown}: of shape {shape}, so frames or clips may come first; {_REMEDY}")
    time = int(shape[1] < shape[0])
    if min(shape[:2]) > 1 and _step(array, 1 - time) * _MUCH < _step(array, time):
        raise UserError(
            f"{shown}: of shape {shape}; by its length axis {time} counts the frames, but along "
            f"axis {1 - time} neighbours are more alike; {_REMEDY}"
        )
    first = "clips" if time else "frames"
    order = (0, 1, 2, 3) if time else (1, 0, 2, 3)
    return order, f": {first} first, as of the first two axes the shorter one counts the frames"


def _step(array: NDArray[np.uint8], axis: int) -> float:
    """Mean difference of neighbours along one of the first two axes, of some."""
    starts = array.shape[0] - (axis == 0), array.shape[1] - (axis == 1)
    places = np.linspace(0, starts[0] * starts[1] - 1, _COMPARED).astype(np.int64)
    total = 0.0
    for row, column in zip(*np.unravel_index(places, starts), strict=True):
        here = array[row, column]
        there = array[row + (axis == 0), column + (axis == 1)]
        total += float(np.abs(here.astype(np.int16) - there).mean())
    return total / _COMPARED
