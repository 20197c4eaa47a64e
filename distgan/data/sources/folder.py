"""A folder of images, or a zip of one, with or without a sub-folder for each class.

In StyleGAN's layout `dataset.json` gives the labels, and sub-folders have no meaning.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.decoder import ENDINGS
from distgan.data.sources.base import (
    LARGEST_FILE,
    TOO_LARGE,
    Item,
    Unreadable,
    left_alone,
    numbered_classes,
    open_regular,
    read_image,
)
from distgan.data.sources.listing import Listing, list_folder, list_zip, relative_name
from distgan.data.sources.pairs import pairs_beside
from distgan.data.sources.splits import classes_of, folders_of_split
from distgan.errors import UserError, brief, first_line, printable

ABOUT = "a folder or zip of images (.png, .jpg, .webp, ...)"

_LABELS = "dataset.json"
_LARGEST_LABELS = 1 << 27
_LARGEST_LABEL = 512
"""Upper bounds for a list of labels: bytes in total and per image. Parsed it takes many times
that."""


def looks_like(path: Path) -> bool:
    """Whether this is a zip or any folder; this kind is tried last."""
    if path.is_dir():
        return True
    return zipfile.is_zipfile(path) or path.suffix.lower() == ".zip"


def open_split(path: Path, split: str) -> FolderSource:
    """The images of a folder or zip, sorted by name; those of a split if folders name splits.

    Raises:
        UserError: when it is damaged, has images of other splits only, or unclear labels.
    """
    listing = list_folder(path) if path.is_dir() else list_zip(path)
    images = sorted(name for name in listing.names if is_image(name))
    where = printable(str(path))
    others = [name for name in listing.names if not is_image(name)]
    if not images:
        notes = (*listing.notes, *left_alone(others, "files that are no images"))
        return FolderSource(path, listing, [], None, (), notes)
    images, inside, more = folders_of_split(images, split, where)
    images, pairs = pairs_beside(images, where)
    lists = [name for name in others if _is_list(name)]
    mine = _list_of(lists, inside)
    # The other split's list of labels is left out without a remark.
    others = [name for name in others if name != mine and (name not in lists or not inside)]
    notes = (*more, *listing.notes, *left_alone(others, "files that are no images"))
    if mine is not None:
        return _stylegan(path, listing, images, mine, notes, pairs)
    labels, classes = classes_of(images, inside, where, "images")
    return FolderSource(path, listing, images, labels, classes, notes, pairs)


class FolderSource:
    """Image files in a folder or zip.

    Args:
        path: the folder or zip.
        listing: what is in it.
        names: of the images, as in the listing.
        labels: one for each image, None for an image without; None for a set without labels.
        notes: see `Source`.
        pairs: names of the pairs, one for each image; None for a set without.
    """

    captions = False

    def __init__(
        self,
        path: Path,
        listing: Listing,
        names: list[str],
        labels: Sequence[int | None] | None,
        classes: tuple[str, ...],
        notes: tuple[str, ...],
        pairs: list[str] | None = None,
    ) -> None:
        self.kind = "folder" if path.is_dir() else "zip"
        self.count, self.classes, self.notes = len(names), classes, notes
        self._path, self._labels = path.absolute(), labels
        self.names, self._pairs, self.pairs = names, pairs, pairs is not None
        self._members = {name: listing.names[name] for name in (*names, *(pairs or ()))}
        self._shown = printable(str(path))
        self._archive: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers; an image that cannot be read is `Unreadable`."""
        return [self._item(number) for number in numbers.tolist()]

    def _item(self, number: int) -> Item:
        name = self.names[number]
        label = None if self._labels is None else self._labels[number]
        pair = None if self._pairs is None else self._read(self._pairs[number])
        between = "/" if self.kind == "folder" else ": "
        where = f"{self._shown}{between}{printable(name)}"
        return Item(self._read(name), where, label, pair=pair)

    def _read(self, name: str) -> bytes | Unreadable:
        return read_image(self._path / name) if self.kind == "folder" else self._unzip(name)

    def _unzip(self, name: str) -> bytes | Unreadable:
        try:
            member = self._members[name]
            if self._archive is None:
                self._archive = zipfile.ZipFile(self._path)
            # By its index: several members of a zip may have the same name.
            members = self._archive.infolist()
            if member >= len(members) or relative_name(members[member].filename) != name:
                return Unreadable("the zip is another now")
            info = members[member]
            # zipfile unpacks at most the declared size, whatever the data holds.
            if info.file_size > LARGEST_FILE:
                return TOO_LARGE
            return self._archive.read(info)
        except Exception as error:
            # Encrypted, damaged, or with an unknown compression: each compression format raises
            # its own exceptions.
            return Unreadable(f"cannot be unpacked ({first_line(error)})")


def _list_of(lists: Sequence[str], inside: str) -> str | None:
    """The list of labels of a folder: in it, else in the nearest one above, else below it.

    Args:
        inside: the folder, ending in a slash, or empty.
    """
    above = [name for name in lists if inside.startswith(name.removesuffix(_LABELS))]
    below = [name for name in lists if name.startswith(inside)]
    if above:
        return max(above, key=len)
    return min(below, key=lambda name: (name.count("/"), name), default=None)


def _stylegan(
    path: Path,
    listing: Listing,
    images: list[str],
    list_name: str,
    notes: tuple[str, ...],
    pairs: list[str] | None,
) -> FolderSource:
    where = printable(f"{path}: {list_name}" if path.is_file() else f"{path}/{list_name}")
    folder = list_name.removesuffix(_LABELS)
    most = min(_LARGEST_LABELS, (1 << 16) + _LARGEST_LABEL * len(listing.names))
    try:
        content = _read_list(path, listing, list_name, most)
        found = None if content is None else json.loads(content)["labels"]
        told = None if found is None else [(f"{folder}{name}", label) for name, label in found]
    except OSError as error:
        raise UserError(f"{where}: cannot be read ({first_line(error)})") from None
    except Exception:
        # The same message for damaged JSON and for JSON of another shape.
        raise UserError(
            f'{where}: should be {{"labels": [["NAME", LABEL], ...]}} or have "labels": null'
        ) from None
    if content is None:
        raise UserError(
            f"{where}: over {most:,} bytes, too many for the labels of {len(images):,} images; "
            "leave out all but the labels"
        )
    if told is None:
        return FolderSource(path, listing, images, None, (), notes, pairs)
    labels = dict(told)
    if len(labels) < len(told):
        ((twice, times),) = Counter(name for name, _ in told).most_common(1)
        raise UserError(
            f"{where}: names {printable(twice[:200])} {times} times; give each image one label"
        )
    wrong = next((name for name, label in labels.items() if type(label) is not int), None)
    if wrong is not None:
        raise UserError(
            f"{where}: label {brief(labels[wrong])} of {printable(wrong[:200])}; labels are whole "
            "numbers"
        )
    missing = next((name for name in labels if name not in listing.names), None)
    if missing is not None:
        raise UserError(
            f"{where}: names {printable(missing[:200])}, which is not there; copy the set again"
        )
    # At least one class even if all labels are negative, so that these are reported as bad.
    classes = numbered_classes(max(0, max(labels.values(), default=0)), where)
    its = [labels.get(name) for name in images]
    return FolderSource(path, listing, images, its, classes, notes, pairs)


def _read_list(path: Path, listing: Listing, name: str, most: int) -> bytes | None:
    """The content of a list of labels, or None if it is larger than ``most`` bytes."""
    if path.is_dir():
        with open_regular(path / name) as stream:
            content = stream.read(most + 1)
        return content if len(content) <= most else None
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[listing.names[name]]
        return archive.read(info) if info.file_size <= most else None


def _is_list(name: str) -> bool:
    return name.rsplit("/", 1)[-1] == _LABELS


def is_image(name: str) -> bool:
    """Whether a file's name ends as those of images do."""
    _, dot, ending = name.rsplit("/", 1)[-1].rpartition(".")
    return bool(dot) and ending.lower() in ENDINGS
