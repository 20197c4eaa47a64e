"""Videos and animations, each file a clip, with or without a folder for each class."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.data.clips import animation, ffmpeg
from distgan.data.clips.animation import Animation
from distgan.data.clips.base import ClipItem
from distgan.data.clips.frames import natural
from distgan.data.clips.reel import Reel
from distgan.data.decoder import BadImageError
from distgan.data.sources.base import Unreadable, left_alone, read_image
from distgan.data.sources.listing import ABOUT_DATA, list_folder
from distgan.data.sources.splits import classes_of, folders_of_split
from distgan.errors import UserError, printable

ABOUT = (
    "a folder of videos (.mp4, .mov, .avi, .mkv, .webm, ..., by ffmpeg) or animations (.gif, "
    ".webp, .apng), with or without a folder for each class"
)


def open_files(path: Path, split: str) -> FileSource:
    """A clip for each file, in the order of their names: 9 before 10. A file alone is one clip.

    Raises:
        UserError: when there are no such files, those of other splits only, unclear labels, or
            videos but no ffmpeg.
    """
    where = printable(str(path))
    if not path.is_dir():
        return _open_one(path, split, where)
    listing = list_folder(path)
    names = [name for name in listing.names if _is_clip(name)]
    others = sorted(
        name
        for name in listing.names
        if not _is_clip(name) and name.rsplit("/", 1)[-1].lower() not in ABOUT_DATA
    )
    notes = (*listing.notes, *left_alone(others, "files that are no videos or animations"))
    if not names:
        found = "".join(f"; {note}" for note in notes)
        raise UserError(f"{where}: no clips here; looked for {ABOUT}{found}")
    names, inside, more = folders_of_split(sorted(names), split, where)
    names = sorted(names, key=natural)
    labels, classes = classes_of(names, inside, where, "clips")
    return FileSource(path, names, labels, classes, (*more, *notes))


def _open_one(path: Path, split: str, where: str) -> FileSource:
    if not _is_clip(path.name):
        raise UserError(f"{where}: not {ABOUT}, nor one of these files; give one")
    if split != "train":
        raise UserError(f"{where}: has no split {split}; a single clip is one split, train")
    return FileSource(path.parent, [path.name], None, (), ("read as one clip",))


class FileSource:
    """A clip for each video or animation.

    Args:
        folder: in which they are.
        names: of the files in it, with slashes.
        labels: one for each; None for a set without.
        notes: see `ClipSource`.

    Raises:
        UserError: when there are videos, but no ffmpeg.
    """

    kind = "files"

    def __init__(
        self,
        folder: Path,
        names: list[str],
        labels: list[int] | None,
        classes: tuple[str, ...],
        notes: tuple[str, ...],
    ) -> None:
        self.count, self.classes, self.notes = len(names), classes, notes
        self._folder, self._names, self._labels = folder.absolute(), names, labels
        self._shown = printable(str(folder))
        self._videos = sum(_ending(name) in ffmpeg.ENDINGS for name in names)
        self._program()

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these numbers, decoded; one that cannot be is a single `Unreadable`.

        Raises:
            UserError: when there are videos, but no ffmpeg on this machine.
        """
        program = self._program()
        for number in numbers.tolist():
            name = self._names[number]
            label = None if self._labels is None else self._labels[number]
            where = f"{self._shown}/{printable(name)}"
            try:
                frames, fps = _decoded(self._folder / name, program)
            except BadImageError as error:
                yield ClipItem((Unreadable(str(error)),), where, label)
            else:
                yield ClipItem(frames, where, label, fps)
                # What it holds is freed before the next one is decoded.
                frames.close()
                del frames

    def _program(self) -> str:
        """The path of ffmpeg; empty where it is not needed."""
        return ffmpeg.program(f"{self._shown}: {self._videos:,} videos") if self._videos else ""


def _decoded(path: Path, program: str) -> tuple[Reel, float | None]:
    """Its frames, and frames a second."""
    if _ending(path.name) in ffmpeg.ENDINGS:
        frames = Reel(partial(ffmpeg.frames, program, path))
        return frames, ffmpeg.rate(program, path)
    content = read_image(path)
    if isinstance(content, Unreadable):
        raise BadImageError(content.reason)
    film = Animation(content)
    frames = Reel(film.play)
    return frames, film.fps


def _is_clip(name: str) -> bool:
    return _ending(name) in animation.ENDINGS | ffmpeg.ENDINGS


def _ending(name: str) -> str:
    _, dot, ending = name.rsplit("/", 1)[-1].rpartition(".")
    return ending.lower() if dot else ""
