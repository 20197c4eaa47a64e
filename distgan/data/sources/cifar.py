"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): python and binary, as a folder or an archive."""

from __future__ import annotations

import io
import pickle
import pickletools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import ArraySource, class_names, numbered_classes, open_regular
from distgan.errors import UserError, first_line

ABOUT = "CIFAR's data_batch_1, train or .bin files, or their .tar.gz"

_PIXELS = 3 * 32 * 32
_LARGEST_MEMBER = 1 << 30

_TRAIN = [f"data_batch_{number}" for number in range(1, 6)]
_LAYOUTS = {
    "CIFAR-10 python": {"train": _TRAIN, "test": ["test_batch"]},
    "CIFAR-10 binary": {"train": [f"{name}.bin" for name in _TRAIN], "test": ["test_batch.bin"]},
    "CIFAR-100 python": {"train": ["train"], "test": ["test"]},
    "CIFAR-100 binary": {"train": ["train.bin"], "test": ["test.bin"]},
}
_META = {
    "CIFAR-10 python": ("batches.meta", "label_names"),
    "CIFAR-100 python": ("meta", "fine_label_names"),
    "CIFAR-10 binary": ("batches.meta.txt", ""),
    "CIFAR-100 binary": ("fine_label_names.txt", ""),
}
_WANTED = {
    *(name for layout in _LAYOUTS.values() for names in layout.values() for name in names),
    *(name for name, _ in _META.values()),
}


def looks_like(path: Path) -> bool:
    """Whether this is CIFAR's folder, the folder around it, or its archive."""
    if path.is_dir():
        return _folder(path) is not None
    return path.name.startswith("cifar-10") and tarfile.is_tarfile(path)


def open_split(path: Path, split: str) -> ArraySource:
    """One split of either CIFAR; the labels of CIFAR-100 are the fine ones.

    Raises:
        UserError: when a file is missing, damaged, or holds what CIFAR's does not.
    """
    place = _folder(path) or path
    members = _archive(place) if place.is_file() else _files(place)
    layout = next(
        (name for name, parts in _LAYOUTS.items() if set(parts[split]) & set(members)), None
    )
    if layout is None:
        raise UserError(f"{path}: holds none of CIFAR's files for split {split}; copy it again")
    images, labels, files = [], [], []
    for name in _LAYOUTS[layout][split]:
        where = f"{place}/{name}" if place.is_dir() else f"{place}: {name}"
        if name not in members:
            raise UserError(f"{where}: is missing; copy the whole of {layout} again")
        read = _python if layout.endswith("python") else _binary
        pixels, numbers = read(members[name], layout, where)
        images.append(pixels)
        labels.append(numbers)
        files.append((where, len(pixels)))
    joined = np.concatenate(labels)
    classes = _classes(members, layout, str(place))
    classes = classes or numbered_classes(int(joined.max(initial=0)), str(place))
    # Stored a channel at a time: (n, 3, 32, 32).
    rows = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return ArraySource("cifar", np.ascontiguousarray(rows), joined, classes, files)


def _folder(path: Path) -> Path | None:
    """CIFAR's own folder or archive in or at a folder."""
    if not path.is_dir():
        return None
    # "train" alone might be anybody's folder; CIFAR-100's is a file, with "meta" beside it.
    for place in (path, *sorted(child for child in path.glob("cifar-10*") if child.is_dir())):
        signs = ("data_batch_1", "data_batch_1.bin", "test_batch", "train.bin", "test.bin")
        if any((place / name).is_file() for name in signs):
            return place
        if (place / "meta").is_file() and (place / "train").is_file():
            return place
    return next(iter(sorted(path.glob("cifar-10*.tar.gz"))), None)


def _files(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.iterdir():
        if path.name in _WANTED and path.is_file():
            with open_regular(path) as stream:
                found[path.name] = stream.read(_LARGEST_MEMBER)
    return found


def _archive(path: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = member.name.rsplit("/", 1)[-1]
                if name in _WANTED and member.isfile() and member.size <= _LARGEST_MEMBER:
                    stream = archive.extractfile(member)
                    members[name] = stream.read() if stream else b""
    except Exception as error:
        # Each packing raises errors of its own for damaged bytes.
        raise UserError(f"{path}: a damaged archive ({first_line(error)}); copy it again") from None
    return members


def _binary(content: bytes, layout: str, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # CIFAR-100 has the coarse label before the fine one.
    before = 2 if layout.startswith("CIFAR-100") else 1
    if len(content) == 0 or len(content) % (before + _PIXELS):
        raise UserError(
            f"{where}: {len(content)} bytes are not whole records of {before + _PIXELS}; "
            "copy it again"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, before + _PIXELS)
    return records[:, before:], records[:, before - 1].astype(np.int64)


def _python(content: bytes, layout: str, where: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = _unpickle(content, where)
    pixels = batch.get("data")
    labels = batch.get("fine_labels" if layout.startswith("CIFAR-100") else "labels")
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.ndim != 2
        or pixels.shape[1] != _PIXELS
    ):
        raise UserError(f"{where}: holds no uint8 pixels of shape (n, {_PIXELS}); copy it again")
    if not isinstance(labels, list) or len(labels) != len(pixels):
        raise UserError(f"{where}: the labels do not fit {len(pixels)} images; copy it again")
    if not all(isinstance(label, int) and 0 <= label < 100 for label in labels):
        raise UserError(f"{where}: the labels are not all whole numbers below 100; copy it again")
    return pixels, np.array(labels, np.int64)


def _classes(members: dict[str, bytes], layout: str, where: str) -> tuple[str, ...]:
    name, key = _META[layout]
    if name not in members:
        return ()
    if key:
        named = _unpickle(members[name], f"{where}: {name}").get(key, [])
        if not isinstance(named, list):
            raise UserError(f"{where}: {name}: {key} is no list; copy it again")
        return class_names(_text(each)[:200] for each in named)
    return class_names(members[name].decode("utf-8", "replace").split())


class _Unpickler(pickle.Unpickler):
    """Reads arrays, text, lists and dictionaries; a pickle that asks for more is refused."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("_codecs", "encode"): _encode,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"asks for {module}.{name}")
        return known[module, name]


def _reconstruct(kind: Any, shape: Any, dtype: Any) -> NDArray[Any]:
    # As numpy's own, which begins with an empty array and sets its state afterwards.
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("asks for an array of an unknown kind")
    return np.empty(0, np.uint8)


def _encode(text: str, encoding: str) -> bytes:
    # How protocol 2 writes bytes.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding}")
    return text.encode("latin1")


def _unpickle(content: bytes, where: str) -> dict[str, Any]:
    try:
        _refuse_reservations(content)
        found = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Exception as error:
        # Damaged or hostile, a pickle may raise anything.
        reason = first_line(error)
        raise UserError(f"{where}: not a pickle of CIFAR's ({reason}); copy it again") from None
    if not isinstance(found, dict):
        raise UserError(f"{where}: not a pickle of CIFAR's (no dictionary); copy it again")
    return {_text(key): value for key, value in found.items()}


def _refuse_reservations(content: bytes) -> None:
    """See that a pickle stores its values one after the other.

    Python's reader reserves memory up to the highest place that a pickle stores anything at:
    five bytes would cost 32 GiB.

    Raises:
        pickle.UnpicklingError: when it does not.
    """
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in ("PUT", "BINPUT", "LONG_BINPUT"):
            continue
        if not isinstance(argument, int) or argument > number + 1:
            raise pickle.UnpicklingError(f"stores a value at place {argument}")


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
