"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), python and binary version, folder or archive."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources import pickles
from distgan.data.sources.base import ArraySource, class_names, numbered_classes, open_regular
from distgan.data.sources.listing import beside
from distgan.data.sources.tars import Bounded, is_gzip, is_tar
from distgan.errors import UserError, first_line, printable

ABOUT = "CIFAR's data_batch_1, train or .bin files, or their .tar.gz"

_PIXELS = 3 * 32 * 32
_LARGEST = 1 << 30
"""Bytes of the largest file or unpacked archive: several times CIFAR's."""

_MOST_MEMBERS = 1000

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
_BESIDE = ("readme.html", "file.txt~", "coarse_label_names.txt")
"""Further files in CIFAR's own archives."""

_WANTED = {
    *(name for layout in _LAYOUTS.values() for names in layout.values() for name in names),
    *(name for name, _ in _META.values()),
}


def looks_like(path: Path) -> bool:
    """Whether this is CIFAR's folder, the folder around it, or its archive."""
    if path.is_dir():
        return _folder(path) is not None
    return path.name.startswith("cifar-10") and (is_gzip(path) or is_tar(path))


def open_split(path: Path, split: str) -> ArraySource:
    """One split of either CIFAR; the labels of CIFAR-100 are the fine ones.

    Raises:
        UserError: when a file is missing, damaged, or not one of CIFAR.
    """
    place = _folder(path) or path
    shown = printable(str(place))
    members = _archive(place) if place.is_file() else _files(place)
    layout = next(
        (name for name, parts in _LAYOUTS.items() if set(parts[split]) & set(members)), None
    )
    if layout is None:
        raise UserError(f"{shown}: holds none of CIFAR's files for split {split}; copy it again")
    images, labels, files = [], [], []
    for name in _LAYOUTS[layout][split]:
        where = f"{shown}/{name}" if place.is_dir() else f"{shown}: {name}"
        if name not in members:
            raise UserError(f"{where}: is missing; copy the whole of {layout} again")
        read = _python if layout.endswith("python") else _binary
        pixels, numbers = read(members[name], layout, where)
        images.append(pixels)
        labels.append(numbers)
        files.append((where, len(pixels)))
    joined = np.concatenate(labels)
    classes = _classes(members, layout, shown)
    classes = classes or numbered_classes(int(joined.max(initial=0)), shown)
    # Stored with channels first: (n, 3, 32, 32).
    rows = np.concatenate(images).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    notes = _beside(place, layout) if place.is_dir() else ()
    if place != path:
        notes += beside(path, (place.name,), f"files beside {printable(place.name)}")
    return ArraySource("cifar", np.ascontiguousarray(rows), joined, classes, files, notes)


def _beside(place: Path, layout: str) -> tuple[str, ...]:
    taken = {*_BESIDE, _META[layout][0]}.union(*_LAYOUTS[layout].values())
    return beside(place, taken, f"files beside those of {layout}")


def _folder(path: Path) -> Path | None:
    """CIFAR's own folder or archive in or at a folder.

    Raises:
        UserError: when there are several.
    """
    if not path.is_dir():
        return None
    if _is_cifar(path):
        return path
    inside = sorted(path.glob("cifar-10*"))
    found = [place for place in inside if place.is_dir() and _is_cifar(place)]
    # Archives are used only without an unpacked folder, which is often beside its archive.
    found = found or [place for place in inside if place.name.endswith(".tar.gz")]
    if len(found) > 1:
        some = ", ".join(printable(place.name) for place in found[:4])
        raise UserError(f"{printable(str(path))}: holds {some}; give one of them as SOURCE")
    return found[0] if found else None


def _is_cifar(place: Path) -> bool:
    signs = ("data_batch_1", "data_batch_1.bin", "test_batch", "train.bin", "test.bin")
    # Other sets have folders named "train"; CIFAR-100's is a file, with "meta" beside it.
    return any((place / name).is_file() for name in signs) or (
        (place / "meta").is_file() and (place / "train").is_file()
    )


def _files(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in folder.iterdir():
        if path.name in _WANTED and path.is_file():
            with open_regular(path) as stream:
                found[path.name] = stream.read(_LARGEST)
    return found


def _archive(path: Path) -> dict[str, bytes]:
    shown = printable(str(path))
    try:
        with open_regular(path) as raw:
            if not is_gzip(path):
                return _members(raw)
            with gzip.open(raw) as unpacked:
                return _members(cast(IO[bytes], unpacked))
    except Exception as error:
        # Each compression format raises its own exceptions for damaged bytes.
        raise UserError(
            f"{shown}: a damaged archive ({first_line(error)}); copy it again"
        ) from None


def _members(stream: IO[bytes]) -> dict[str, bytes]:
    """The contents of CIFAR's files in a tar, by name.

    Raises:
        tarfile.TarError: when it is damaged, or much larger than CIFAR's.
    """
    members: dict[str, bytes] = {}
    with tarfile.TarFile(fileobj=Bounded(stream, _LARGEST)) as archive:
        for number, member in enumerate(archive):
            if number == _MOST_MEMBERS:
                raise tarfile.ReadError(f"over {_MOST_MEMBERS} files")
            name = member.name.rsplit("/", 1)[-1]
            if name not in _WANTED or not member.isreg() or member.issparse():
                continue
            if name in members:
                raise tarfile.ReadError(f"holds {name} more than once")
            if member.offset_data + member.size > _LARGEST:
                raise tarfile.ReadError(f"over {_LARGEST} bytes")
            stream.seek(member.offset_data)
            members[name] = stream.read(member.size)
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
    batch = pickles.load(content, where)
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
        named = pickles.load(members[name], f"{where}: {name}").get(key, [])
        if not isinstance(named, list) or not all(isinstance(each, bytes | str) for each in named):
            raise UserError(f"{where}: {name}: {key} is no list of names; copy it again")
        return class_names(pickles.text(each)[:200] for each in named)
    return class_names(members[name].decode("utf-8-sig", "replace").split())
