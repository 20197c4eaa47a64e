"""NumPy's .npz and .npy files."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import LARGEST_ARRAY, ArraySource, Item, numbered_classes
from distgan.errors import UserError

ABOUT = "a .npz or .npy file of uint8 images"

_IMAGES = {
    "train": ("x_train", "train_images", "images", "image", "x", "data", "arr_0"),
    "test": ("x_test", "test_images"),
}
_LABELS = {
    "train": ("y_train", "train_labels", "labels", "label", "y", "arr_1"),
    "test": ("y_test", "test_labels"),
}
_DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def looks_like(path: Path) -> bool:
    """Whether this is a .npy, or a zip of them."""
    if not path.is_file():
        return False
    with open(path, "rb") as stream:
        start = stream.read(6)
    return start == b"\x93NUMPY" or (start[:2] == b"PK" and path.suffix == ".npz")


def open_split(path: Path, split: str) -> ArraySource | NpySource:
    """The images, and maybe labels, of a file: ``images`` and ``labels``, ``x_train`` and
    ``y_train`` or the like.

    Raises:
        UserError: when it is damaged, or what it holds are no images.
    """
    if path.suffix != ".npz":
        if split != "train":
            raise UserError(f"{path}: has no split {split}; a .npy file is one split, train")
        return NpySource(path)
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > LARGEST_ARRAY:
            raise UserError(f"{path}: unpacks to {unpacked} bytes; use .npy, which is not unpacked")
        with np.load(path, allow_pickle=False) as arrays:
            name = _first(arrays.files, _IMAGES[split])
            if name is None:
                raise UserError(
                    f"{path}: no array named {' or '.join(_IMAGES[split])} for split {split} "
                    f"(it has {', '.join(arrays.files)}); rename one"
                )
            images = _shaped(arrays[name], f"{path}, {name}")
            beside = _first(arrays.files, _LABELS[split])
            labels = None if beside is None else arrays[beside]
    except _DAMAGED as error:
        raise UserError(f"{path}: cannot be read ({error}); copy or save it again") from None
    where = f"{path}, {name}"
    numbers = None if labels is None else _whole(labels, len(images), f"{path}, {beside}")
    highest = -1 if numbers is None else int(numbers.max(initial=0))
    return ArraySource(
        "npz", images, numbers, numbered_classes(highest, where), [(where, len(images))]
    )


class NpySource:
    """One .npy file, of which only the images asked for are read."""

    kind = "npy"
    classes: tuple[str, ...] = ()
    captions = pairs = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = len(self._map())

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers."""
        images = self._map()
        return [Item(np.array(images[n]), f"{self._path}, row {n}") for n in numbers.tolist()]

    def _map(self) -> NDArray[np.uint8]:
        try:
            mapped = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except _DAMAGED as error:
            raise UserError(f"{self._path}: cannot be read ({error}); copy it again") from None
        return _shaped(mapped, str(self._path))


def _shaped(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """``array`` as uint8 (n, h, w, c); it may lack channels or have them first."""
    if array.dtype != np.uint8:
        raise UserError(f"{where}: holds {array.dtype}; convert the pixels to uint8, 0 to 255")
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[3] not in (1, 3, 4):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3, 4):
        raise UserError(
            f"{where}: of shape {shape}; images should be (n, h, w) or (n, h, w, channels)"
        )
    return array


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
