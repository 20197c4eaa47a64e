"""NumPy's .npz and .npy files."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import (
    ArraySource,
    Item,
    Unreadable,
    numbered_classes,
    open_regular,
    refuse_without_memory,
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
        UserError: when it is damaged, or holds no images.
    """
    shown = printable(str(path))
    if not _is_npz(path):
        if split != "train":
            raise UserError(f"{shown}: has no split {split}; a .npy file is one split, train")
        return NpySource(path)
    try:
        return _npz(path, split, shown)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_unreadable(shown, error)) from None


def _npz(path: Path, split: str, shown: str) -> ArraySource:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    refuse_without_memory(unpacked, shown, "use .npy, which is not unpacked")
    with np.load(path, allow_pickle=False) as arrays:
        name = _first(arrays.files, _IMAGES[split])
        if name is None:
            raise UserError(
                f"{shown}: no array named {' or '.join(_IMAGES[split])} for split {split} "
                f"(it has {printable(', '.join(arrays.files[:10]))}); rename one"
            )
        where = f"{shown}, {name}"
        images, notes = _shaped(arrays[name], where)
        beside = _first(arrays.files, _LABELS[split])
        labels = None if beside is None else arrays[beside]
        others = [each for each in arrays.files if each not in (name, beside)]
    numbers = None if labels is None else _whole(labels, len(images), f"{shown}, {beside}")
    highest = -1 if numbers is None else int(numbers.max(initial=0))
    # Arrays of the other split are left out without a remark.
    other = "train" if split == "test" else "test"
    pair = (_first(others, _IMAGES[other][:2]), _first(others, _LABELS[other][:2]))
    others = [each for each in others if each not in pair]
    if others:
        some = printable(", ".join(others[:10])) + (", ..." if len(others) > 10 else "")
        notes += (f"left alone: arrays named {some}",)
    return ArraySource(
        "npz", images, numbers, numbered_classes(highest, where), [(where, len(images))], notes
    )


class NpySource:
    """One .npy file, of which only the requested images are read."""

    kind = "npy"
    classes: tuple[str, ...] = ()
    captions = pairs = False

    def __init__(self, path: Path) -> None:
        self._path, self._shown = path.absolute(), printable(str(path.absolute()))
        images, self.notes = self._map()
        self.count = len(images)

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers; `Unreadable` if the file was removed or replaced."""
        wheres = [f"{self._shown}, row {n}" for n in numbers.tolist()]
        try:
            images, _ = self._map()
        except UserError as error:
            return [Item(Unreadable(first_line(error)), where) for where in wheres]
        if len(images) != self.count:
            changed = Unreadable(f"the file holds {len(images)} images now, not {self.count}")
            return [Item(changed, where) for where in wheres]
        pairs = zip(numbers.tolist(), wheres, strict=True)
        return [Item(np.array(images[n]), where) for n, where in pairs]

    def _map(self) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        try:
            mapped = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except Exception as error:
            # The header is a Python literal, whose parser may raise other exceptions.
            raise UserError(_unreadable(self._shown, error)) from None
        return _shaped(mapped, self._shown)


def _unreadable(shown: str, error: Exception) -> str:
    return f"{shown}: cannot be read ({first_line(error)}); copy or save it again"


def _shaped(array: NDArray[Any], where: str) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """``array`` as uint8 (n, h, w, c), and remarks on how it was interpreted.

    Its channels may be missing, first, or last.

    Raises:
        UserError: when they cannot be determined.
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
