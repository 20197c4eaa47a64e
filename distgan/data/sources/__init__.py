"""Sources of images for `distgan data prepare`, one kind per module."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from distgan.config.settings import nearest
from distgan.data.sources import (
    arrays,
    cifar,
    folder,
    idx,
    named,
    parquet,
    sides,
    stacked,
    webdataset,
)
from distgan.data.sources.base import ArraySource, ImageData, Item, Source, regular
from distgan.data.sources.side_by_side import SideBySide
from distgan.errors import UserError, first_line, printable

__all__ = [
    "MADE",
    "SOURCES",
    "ImageData",
    "Item",
    "Kind",
    "Source",
    "is_free",
    "is_made",
    "open_source",
    "source_path",
]


@dataclass(frozen=True)
class Kind:
    """A kind of source: how it is recognised and opened, and its name for the user."""

    looks_like: Callable[[Path], bool]
    open_split: Callable[[Path, str], Source]
    about: str


SOURCES = {
    "idx": Kind(idx.looks_like, idx.open_split, idx.ABOUT),
    "cifar": Kind(cifar.looks_like, cifar.open_split, cifar.ABOUT),
    "parquet": Kind(parquet.looks_like, parquet.open_split, parquet.ABOUT),
    "webdataset": Kind(webdataset.looks_like, webdataset.open_split, webdataset.ABOUT),
    "arrays": Kind(arrays.looks_like, arrays.open_split, arrays.ABOUT),
    "folder": Kind(folder.looks_like, folder.open_split, folder.ABOUT),
}
"""All kinds; the first in this order that recognises a location opens it."""

MADE: dict[str, Callable[[str, int | None, int], Source]] = {stacked.NAME: stacked.open_stacked}
"""Sets that are computed, without a download, by name: functions of the split, the number of images
(None for the usual one) and a seed."""


def open_source(
    location: str,
    split: str,
    progress: named.Progress = lambda what, done, total: None,
    *,
    count: int | None = None,
    seed: int = 0,
    pairs: str | None = None,
    side: str = "",
) -> Source:
    """Open one split of a named set, a file or a folder of any kind in `SOURCES`.

    Args:
        progress: called with the progress of a download.
        count: number of images of a set in `MADE`; the others have as many as they have.
        seed: of such a set.
        pairs: how it holds two domains; see `distgan.data.prepare.PrepareSettings`.
        side: which of two unpaired ones to open, A or B.

    Raises:
        UserError: when it does not exist, is of no known kind, is damaged, or holds no images.
    """
    shown = printable(location)
    path = source_path(location)
    if is_made(location):
        if pairs is not None:
            raise UserError(f"--pairs {pairs}: {shown} is of one domain; leave --pairs out")
        return MADE[location](split, count, seed)
    there = _exists(path, shown)
    download = named.NAMED.get(location) if not there or _is_bare(path) else None
    if download is not None:
        path = named.fetch(location, progress)
    elif not there:
        # It imports the sources.
        from distgan.data.clips.moving import MOVING

        made = (*MADE, *MOVING)
        known = ", ".join(named.NAMED)
        raise UserError(
            f"{shown}: no such file or folder{nearest(location, [*named.NAMED, *made])}; give "
            f"one, a name that can be downloaded: {known}, or one that can be made: "
            f"{', '.join(made)}"
        )
    try:
        if not path.is_dir() and not regular(path):
            raise UserError(f"{shown}: is a pipe, device or socket; give a file or a folder")
        source = _open(path, shown, split, pairs, side)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{shown}: cannot be read ({first_line(error)})") from None
    except Exception as error:
        # A library may raise any exception for a foreign file; it counts as damaged.
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{shown}: damaged, or no source of images ({reason})") from None
    if isinstance(source, ArraySource) and download is not None and download.classes:
        source.classes = download.classes
    if source.count == 0:
        notes = "".join(f"; {note}" for note in source.notes)
        if isinstance(source, folder.FolderSource):
            raise UserError(f"{shown}: {_nothing_known()}{notes}")
        raise UserError(f"{shown}: holds no images (0 of them); give another source{notes}")
    return source


def _open(path: Path, shown: str, split: str, pairs: str | None, side: str) -> Source:
    if pairs == "folders":
        return sides.open_pairs(path, split)
    if pairs == "unpaired":
        return sides.open_side(path, split, side)
    kind = next((kind for kind in SOURCES.values() if kind.looks_like(path)), None)
    if kind is None:
        raise UserError(f"{shown}: {_nothing_known()}")
    source = kind.open_split(path, split)
    if pairs is None:
        if isinstance(source, folder.FolderSource) and sides.both(source.names):
            source.notes += (
                "images of two domains? --pairs folders makes pairs of equal names in A and B, and "
                "--pairs unpaired two sets",
            )
        return source
    if source.pairs:
        raise UserError(f"--pairs {pairs}: {shown} holds pairs already; leave --pairs out")
    return SideBySide(source)


def is_made(location: str) -> bool:
    """Whether this names a set of `MADE`, and no file or folder."""
    return location in MADE and is_free(location)


def is_free(name: str) -> bool:
    """Whether nothing is there under this name, or only what a set of it is being made in."""
    return not os.path.exists(name) or _is_bare(Path(name))


def _is_bare(path: Path) -> bool:
    """Whether a folder holds nothing to be seen, as one that a set of its name is made in."""
    return path.is_dir() and all(name.startswith(".") for name in os.listdir(path))


def _nothing_known() -> str:
    looked = "; ".join(kind.about for kind in SOURCES.values())
    return f"no images of a known kind; looked for {looked}"


def source_path(location: str) -> Path:
    """The path of a source, which may be given as a ``file://`` URI.

    Raises:
        UserError: for any other URI.
    """
    scheme, separator, rest = location.partition("://")
    if location[:6].lower() == "file:/" and not separator:
        # RFC 8089's short form.
        return Path(unquote(location[5:]))
    if not separator or "/" in scheme:
        # Path.expanduser would raise for the name of an unknown user.
        return Path(os.path.expanduser(location))
    if scheme.lower() != "file":
        raise UserError(
            f"{printable(location)}: sources are read from this machine's disks; copy it here and "
            "give its path (--out may be a URI)"
        )
    # "file://localhost/a" and "file:///a" are the same place.
    return Path(unquote(rest.removeprefix("localhost")))


def _exists(path: Path, shown: str) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{shown}: cannot be a path ({first_line(error)})") from None
