"""A folder of images, or a zip of one, with or without a sub-folder for each class.

In StyleGAN's layout `dataset.json` gives the labels, and the sub-folders mean nothing.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import (
    IMAGE_ENDINGS,
    LARGEST_FILE,
    SPLITS,
    Item,
    numbered_classes,
)
from distgan.errors import UserError

ABOUT = "a folder or zip of images (.png, .jpg, .webp, ...)"

_LABELS = "dataset.json"
_LARGEST_LABELS = 1 << 30


def looks_like(path: Path) -> bool:
    """Whether this is a zip, or a folder with an image somewhere inside."""
    if path.is_dir():
        return next(_walk(path), None) is not None
    return zipfile.is_zipfile(path) or path.suffix.lower() == ".zip"


def open_split(path: Path, split: str) -> FolderSource:
    """The images of a folder or zip, sorted by name; of its sub-folder SPLIT if it has those.

    Raises:
        UserError: when it is damaged, holds no images of the split, or unclear labels.
    """
    names = sorted(_walk(path) if path.is_dir() else _listing(path))
    if not any(_is_image(name) for name in names):
        raise UserError(f"{path}: holds no images; looked for .{', .'.join(sorted(IMAGE_ENDINGS))}")
    prefix = _split_folder(names, split, path)
    names = [name for name in names if name.startswith(prefix)]
    images = [name for name in names if _is_image(name)]
    lists = [name for name in names if name.rsplit("/", 1)[-1] == _LABELS]
    if lists:
        return _stylegan(path, images, min(lists, key=lambda name: name.count("/")))
    common = os.path.commonpath([name.rpartition("/")[0] for name in images])
    folders = [name[len(common) :].lstrip("/").rpartition("/")[0] for name in images]
    if all(folders):
        tops = [folder.split("/", 1)[0] for folder in folders]
        classes = tuple(sorted(set(tops)))
        number = {name: label for label, name in enumerate(classes)}
        return FolderSource(path, images, [number[top] for top in tops], classes)
    if any(folders):
        beside = images[folders.index("")]
        inside = next(name for name, folder in zip(images, folders, strict=True) if folder)
        raise UserError(
            f"{path}: has images both beside and inside sub-folders ({beside}, {inside}); "
            "give every class a sub-folder, or put all images in one"
        )
    return FolderSource(path, images, None, ())


class FolderSource:
    """Image files in a folder or zip.

    Args:
        path: the folder or zip.
        names: of the images inside it.
        labels: one for each, None for an image without; or None if there are none.
    """

    captions = pairs = False

    def __init__(
        self,
        path: Path,
        names: list[str],
        labels: list[int | None] | list[int] | None,
        classes: tuple[str, ...],
    ) -> None:
        self.kind = "folder" if path.is_dir() else "zip"
        self.count, self.classes = len(names), classes
        self._path, self._names, self._labels = path.absolute(), names, labels
        self._shown = str(path)
        self._archive: zipfile.ZipFile | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_archive": None}

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers; an image that cannot be read is empty bytes."""
        return [self._item(number) for number in numbers.tolist()]

    def _item(self, number: int) -> Item:
        name = self._names[number]
        label = None if self._labels is None else self._labels[number]
        if self.kind == "folder":
            file = self._path / name
            # Too large for an image, it is not read, and refused like an empty one.
            content = file.read_bytes() if file.stat().st_size <= LARGEST_FILE else b""
            return Item(content, f"{self._shown}/{name}", label)
        return Item(self._unzip(name), f"{self._shown}: {name}", label)

    def _unzip(self, name: str) -> bytes:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self._path)
        try:
            # Never more than this size is unpacked, whatever the member really holds.
            if self._archive.getinfo(name).file_size > LARGEST_FILE:
                return b""
            return self._archive.read(name)
        # A RuntimeError is an encrypted member, or one packed in a way that is not known.
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
            return b""


def _stylegan(path: Path, images: list[str], list_name: str) -> FolderSource:
    where = f"{path}: {list_name}" if path.is_file() else f"{path}/{list_name}"
    folder = list_name.removesuffix(_LABELS)
    try:
        found = json.loads(_read_list(path, list_name))["labels"]
        labels = None if found is None else {f"{folder}{name}": label for name, label in found}
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile, zlib.error):
        raise UserError(
            f'{where}: should be {{"labels": [["NAME", LABEL], ...]}} or have "labels": null'
        ) from None
    if labels is None:
        return FolderSource(path, images, None, ())
    wrong = next((name for name, label in labels.items() if type(label) is not int), None)
    if wrong is not None:
        raise UserError(f"{where}: label {labels[wrong]!r} of {wrong}; labels are whole numbers")
    there = set(images)
    missing = next((name for name in labels if name not in there), None)
    if missing is not None:
        raise UserError(f"{where}: names {missing}, which is not there; copy the set again")
    classes = numbered_classes(max(labels.values(), default=0), where)
    return FolderSource(path, images, [labels.get(name) for name in images], classes)


def _read_list(path: Path, name: str) -> bytes:
    if path.is_dir():
        return (path / name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo(name).file_size > _LARGEST_LABELS:
            raise ValueError
        return archive.read(name)


def _split_folder(names: list[str], split: str, path: Path) -> str:
    """The folder, with a slash, that the split's images lie in; nothing if not split."""
    folders = {name.partition("/")[0] for name in names if _is_image(name) and "/" in name}
    inside = all("/" in name for name in names if _is_image(name))
    if inside and folders & set(SPLITS) and folders <= {*SPLITS, "val", "valid", "validation"}:
        if split in folders:
            return f"{split}/"
    elif split == "train":
        return ""
    raise UserError(f"{path}: has no split {split}; that would be a sub-folder {split}/")


def _walk(folder: Path) -> Iterator[str]:
    """Names, relative and with slashes, of all images and label lists below a folder."""
    for place, _, files in os.walk(folder):
        inside = Path(place).relative_to(folder).as_posix()
        for file in files:
            name = file if inside == "." else f"{inside}/{file}"
            if _counts(name):
                yield name


def _listing(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UserError(f"{path}: not a whole zip ({error}); copy it again") from None
    return [name for name in names if _counts(name)]


def _counts(name: str) -> bool:
    # What macOS and Windows leave in folders begins with a dot or two underscores.
    parts = name.split("/")
    if any(part.startswith((".", "__")) for part in parts):
        return False
    return _is_image(name) or parts[-1] == _LABELS


def _is_image(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_ENDINGS
