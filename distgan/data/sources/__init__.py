"""Where images come from. Each kind of source is one module here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from distgan.data.sources import arrays, cifar, folder, idx, named, parquet, webdataset
from distgan.data.sources.base import ArraySource, ImageData, Item, Source
from distgan.errors import UserError
from distgan.settings import nearest

__all__ = ["SOURCES", "ImageData", "Item", "Kind", "Source", "open_source"]


@dataclass(frozen=True)
class Kind:
    """A kind of source: how it is recognised, opened, and named to a person."""

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
"""Tried in this order; the first that recognises a location opens it."""


def open_source(
    location: str, split: str, progress: named.Progress = lambda what, done, total: None
) -> Source:
    """Open one split of a named set, a file or a folder, whatever kind it is of.

    Args:
        progress: told about a download.

    Raises:
        UserError: when nothing is there, it is of no known kind, damaged, or holds no images.
    """
    path = Path(location).expanduser()
    download = None if path.exists() else named.NAMED.get(location)
    if download is not None:
        path = named.fetch(location, progress)
    elif not path.exists():
        known = ", ".join(named.NAMED)
        raise UserError(
            f"{location}: no such file or folder{nearest(location, list(named.NAMED))}; give "
            f"one, or a name that can be downloaded: {known}"
        )
    try:
        kind = next((kind for kind in SOURCES.values() if kind.looks_like(path)), None)
        if kind is None:
            looked = "; ".join(kind.about for kind in SOURCES.values())
            raise UserError(f"{location}: no images of a known kind; looked for {looked}")
        source = kind.open_split(path, split)
    except OSError as error:
        raise UserError(f"{location}: cannot be read ({error})") from None
    if isinstance(source, ArraySource) and download is not None and download.classes:
        source.classes = download.classes
    if source.count == 0:
        raise UserError(f"{location}: holds no images (0 of them); give another source")
    return source
