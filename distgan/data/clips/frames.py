"""Clips of which every frame is an image file: a folder for each clip."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.data.clips.base import ClipItem
from distgan.data.clips.reel import LazyFrames
from distgan.data.decoder import BadImageError, shape_of
from distgan.data.sources.base import ImageData, Unreadable, left_alone, regular
from distgan.data.sources.folder import FolderSource, is_image
from distgan.data.sources.folder import looks_like as is_folder
from distgan.data.sources.listing import ABOUT_DATA, Listing, list_folder, list_zip
from distgan.data.sources.splits import classes_of, folders_of_split
from distgan.errors import UserError, printable

ABOUT = (
    "a folder or zip with a folder of images (.png, .jpg, .webp, ...) for each clip, CLIP/001.png, "
    "or for each class a folder of such, CLASS/CLIP/001.png"
)

_DIGITS = re.compile("([0-9]+)")


def open_frames(path: Path, split: str) -> FrameSource:
    """Clips in the order of their folders' names, and frames in that of theirs: 9 before 10.

    Raises:
        UserError: when it is damaged, has no clips, those of other splits only, or folders that
            are clips and hold clips.
    """
    where = printable(str(path))
    if not path.is_dir() and not (regular(path) and is_folder(path)):
        raise UserError(f"{where}: not {ABOUT}; give one")
    listing = list_folder(path) if path.is_dir() else list_zip(path)
    names = sorted(name for name in listing.names if is_image(name))
    others = [
        name
        for name in listing.names
        if not is_image(name) and name.rsplit("/", 1)[-1].lower() not in ABOUT_DATA
    ]
    notes = (*listing.notes, *left_alone(others, "files that are no images"))
    if not names:
        found = "".join(f"; {note}" for note in notes)
        raise UserError(f"{where}: no clips here; looked for {ABOUT}{found}")
    names, inside, more = folders_of_split(names, split, where)
    clips = _clips_of(names)
    _refuse_nested(list(clips), where)
    labels, classes, remark = _labels(list(clips), inside, where)
    notes = (*more, *remark, *notes, *_uneven(clips))
    return FrameSource(path, listing, clips, labels, classes, notes)


class FrameSource:
    """A clip for each folder of images.

    Args:
        path: the folder or zip.
        listing: what is in it.
        clips: names of frames in order, by the folder of their clip.
        labels: one for each clip; None for a set without.
        notes: see `ClipSource`.
    """

    kind = "frames"

    def __init__(
        self,
        path: Path,
        listing: Listing,
        clips: dict[str, list[str]],
        labels: list[int] | None,
        classes: tuple[str, ...],
        notes: tuple[str, ...],
    ) -> None:
        self.count, self.classes, self.notes = len(clips), classes, notes
        names = [name for its in clips.values() for name in its]
        self._images = FolderSource(path, listing, names, None, (), ())
        self._clips, self._labels = list(clips), labels
        self._ends = np.cumsum([0, *map(len, clips.values())])
        between = "/" if path.is_dir() else ": "
        self._shown = f"{printable(str(path))}{between}"

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these numbers; each frame is read when it is asked for."""
        for number in numbers.tolist():
            frames = _Files(self._images, range(self._ends[number], self._ends[number + 1]))
            where = f"{self._shown}{printable(self._clips[number])}".rstrip("/")
            yield ClipItem(frames, where, None if self._labels is None else self._labels[number])


class _Files(LazyFrames):
    """Encoded images of one size; the others are `Unreadable`."""

    def __init__(self, images: FolderSource, numbers: range) -> None:
        self._images, self._numbers = images, numbers
        self._first: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    def frame(self, number: int) -> ImageData:
        if number and self._first is None:
            self.frame(0)
        place = self._numbers[number]
        image = self._images.read(np.array([place]))[0].image
        name = printable(self._images.names[place].rsplit("/", 1)[-1])
        if isinstance(image, Unreadable):
            return Unreadable(f"{name} {image.reason}")
        if not isinstance(image, bytes):
            return image
        try:
            size = shape_of(image)[1:]
        except BadImageError as error:
            return Unreadable(f"{name}: {error}")
        if self._first is None:
            self._first = size
        if size != self._first:
            here, before = (f"{height}x{width}" for height, width in (size, self._first))
            return Unreadable(
                f"{name} is {here}, but the first frame of the clip is {before}: mixed sizes"
            )
        return image


def natural(name: str) -> tuple[object, ...]:
    """A key to sort names by: runs of digits by their number, so that 9 comes before 10."""
    # Text and digits alternate, so keys are comparable; a number of digits is not limited.
    parts = _DIGITS.split(name)
    values: list[object] = []
    for part, digits in zip(parts[::2], [*parts[1::2], ""], strict=True):
        plain = digits.lstrip("0")
        values += [part, (len(plain), plain)]
    # "1" before "01".
    return (*values, name)


def _clips_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Frames in order, by the folder of their clip, ending in a slash; in order too."""
    clips: dict[str, list[str]] = {}
    for name in names:
        clips.setdefault(name[: len(name) - len(name.rsplit("/", 1)[-1])], []).append(name)
    return {clip: sorted(clips[clip], key=natural) for clip in sorted(clips, key=natural)}


def _refuse_nested(clips: list[str], where: str) -> None:
    for outer, inner in pairwise(sorted(clips)):
        if inner.startswith(outer):
            raise UserError(
                f"{where}: has frames in {printable(outer or './')} and in a folder inside it, "
                f"{printable(inner)}; give every clip a folder without others in it"
            )


def _labels(
    clips: list[str], inside: str, where: str
) -> tuple[list[int] | None, tuple[str, ...], tuple[str, ...]]:
    """Labels, classes and remarks; see `classes_of`."""
    if clips == [inside]:
        return None, (), (f"read as one clip: all images of {where}/{printable(inside)}",)
    within = [clip[len(inside) :].rstrip("/") for clip in clips]
    lower = {rest for _, slash, rest in (name.partition("/") for name in within) if slash}
    tops = {name.split("/", 1)[0] for name in within}
    if len(lower) == 1 and len(tops) == len(within) > 1 and all("/" in name for name in within):
        # As in CLIP/frames/001.png.
        return None, (), (f"read as clips, and not as classes: folders with {_quoted(lower)}",)
    labels, classes = classes_of([clip.rstrip("/") for clip in clips], inside, where, "clips")
    return labels, classes, ()


def _quoted(lower: set[str]) -> str:
    return f"one folder of the same name in each, {printable(min(lower))}/"


def _uneven(clips: dict[str, list[str]]) -> tuple[str, ...]:
    """A remark on clips in whose frames' numbers some are missing or there twice."""
    found = [clip for clip, names in clips.items() if _skips(names)]
    if not found:
        return ()
    return (
        f"{len(found):,} clips whose frames are not numbered evenly (some are missing, or there "
        f"twice?), such as {printable(found[0])}",
    )


def _skips(names: list[str]) -> bool:
    stems = (name.rsplit("/", 1)[-1].rpartition(".")[0] for name in names)
    runs = [_DIGITS.findall(stem)[-1:] for stem in stems]
    # Names without a number have no order but the alphabet's; longer ones are no counters.
    if not all(run and len(run[0]) <= 18 for run in runs):
        return False
    # A number that never changes, such as a size, counts nothing.
    return len({int(after[0]) - int(before[0]) for before, after in pairwise(runs)}) > 1
