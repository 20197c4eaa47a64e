"""NumPy's .npz and .npy files."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import (
    LARGEST_ARRAY,
    ArraySource,
    Item,
    numbered_classes,
    open_regular,
)
from distgan.errors import UserError, brief, first_line, printable

ABOUT = "a .npz or .npy file of uint8 images"

_CHANNELS = (1, 3, 4)
_IMAGES = {
    "train": ("x_train", "train_images", "images", "image", "x", "data", "arr_0"),
    "test": ("x_test", "test_images"),
}
_LABELS = {
    "train": ("y_train", "train_labels", "labels", "label", "y", "arr_1"),
    "test": ("y_test", "test_labels"),
}


def looks_like(path: Path) -> bool:
    """Whether this is a .npy, or a zip of them."""
    if not path.is_file():
        return False
    with open_regular(path) as stream:
        start = stream.read(6)
    return start == b"\x93NUMPY" or (start[:2] == b"PK" and _is_npz(path))


def open_split(path: Path, split: str) -> ArraySource | NpySource:
    """The images, and maybe labels, of a file: ``images`` and ``labels``, ``x_train`` and
    ``y_train`` or the like.

    Raises:
        UserError: when it is damaged, or what it holds are no images.
    """
    if not _is_npz(path):
        if split != "train":
            raise UserError(f"{path}: has no split {split}; a .npy file is one split, train")
        return NpySource(path)
    try:
        return _npz(path, split)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_unreadable(path, error)) from None


def _npz(path: Path, split: str) -> ArraySource:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > LARGEST_ARRAY:
        raise UserError(f"{path}: unpacks to {unpacked} bytes; use .npy, which is not unpacked")
    with np.load(path, allow_pickle=False) as arrays:
        name = _first(arrays.files, _IMAGES[split])
        if name is None:
            raise UserError(
                f"{path}: no array named {' or '.join(_IMAGES[split])} for split {split} "
                f"(it has {printable(', '.join(arrays.files[:10]))}); rename one"
            )
        where = f"{path}, {name}"
        images, notes = _shaped(arrays[name], where)
        beside = _first(arrays.files, _LABELS[split])
        labels = None if beside is None else arrays[beside]
        of_splits = {known for names in (_IMAGES, _LABELS) for known in sum(names.values(), ())}
        others = [each for each in arrays.files if each not in of_splits]
    numbers = None if labels is None else _whole(labels, len(images), f"{path}, {beside}")
    highest = -1 if numbers is None else int(numbers.max(initial=0))
    if others:
        notes += (f"left alone: arrays named {printable(', '.join(others[:10]))}",)
    return ArraySource(
        "npz", images, numbers, numbered_classes(highest, where), [(where, len(images))], notes
    )


class NpySource:
    """One .npy file, of which only the images asked for are read."""

    kind = "npy"
    classes: tuple[str, ...] = ()
    captions = pairs = False

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        images, self.notes = self._map()
        self.count = len(images)

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers."""
        images, _ = self._map()
        return [Item(np.array(images[n]), f"{self._path}, row {n}") for n in numbers.tolist()]

    def _map(self) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        try:
            mapped = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            # The header is Python's text, whose reader raises errors of its own.
            raise UserError(_unreadable(self._path, error)) from None
        return _shaped(mapped, str(self._path))


def _unreadable(path: Path, error: Exception) -> str:
    return f"{printable(str(path))}: cannot be read ({first_line(error)}); copy or save it again"


def _shaped(array: NDArray[Any], where: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """``array`` as uint8 (n, h, w, c), and how it was read.

    It may lack channels, or have them first.

    Raises:
        UserError: when that cannot be told.
    """
    if array.dtype != np.uint8:
        raise UserError(
            f"{where}: holds {brief(array.dtype)}; convert the pixels to uint8, 0 to 255"
        )
    shape = array.shape
    if array.ndim == 3 and shape[2] in _CHANNELS and shape[1] != shape[2]:
        raise UserError(
            f"{where}: of shape {shape}, which may be one image or many gray ones; give "
            "(1, h, w, channels) for one, (n, h, w, 1) for gray ones"
        )
    first = ""
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and shape[3] not in _CHANNELS and shape[1] in _CHANNELS:
        array, first = array.transpose(0, 2, 3, 1), ", channels first"
    if array.ndim != 4 or array.shape[3] not in _CHANNELS or 0 in array.shape[1:]:
        raise UserError(
            f"{where}: of shape {shape}; images should be (n, h, w) or (n, h, w, channels)"
        )
    number, height, width, channels = array.shape
    read = f"{number:,} images of {height}x{width}x{channels} (height, width, channels)"
    return array, (f"read the array of shape {shape}{first} as {read}",)


def _whole(labels: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or math.prod(labels.shape) != count:
        raise UserError(
            f"{where}: labels of {labels.dtype} {labels.shape}; "
            f"they should be whole numbers, one for each of {count} images"
        )
    whole: NDArray[np.int64] = labels.reshape(-1).astype(np.int64)
    return whole


def _first(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _is_npz(path: Path) -> bool:
    return path.suffix.lower() == ".npz"
