"""Identifies the set that a run is trained on by its content, wherever it is stored."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import replace
from typing import Any

from distgan.config.run import RunConfig
from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data.images import PACKAGED, ImageSet
from distgan.data.sides import Sets
from distgan.errors import UserError
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, read_json

FILE, OTHER_FILE = "data.json", "data_b.json"
"""Files of a run with the name and fingerprints of its data set, and of its second one."""

_PIECES, _PIECE, _FOOTER = 32, 4096, 1 << 16
"""For a file without a checksum: number of pieces that are read, bytes of each, and bytes read at
the end."""


_REMEDY = "delete it, and the set is taken for the right one"

_WHOLE = 2**32
"""Size up to which all files of a set on a local disk are read completely."""


class _Known(Shape):
    data: str
    fingerprint: str
    content: str = ""
    count: int
    shape: list[int]


def everywhere(data: str) -> str:
    """The name of a set, valid from any working folder."""
    if data in PACKAGED or "://" in data:
        return data
    return os.path.abspath(os.path.expanduser(data))


def findable(config: RunConfig) -> RunConfig:
    """The same with names of sets that are valid from any working folder."""
    held_out = config.evaluate.held_out
    evaluate = replace(config.evaluate, held_out=everywhere(held_out) if held_out else "")
    # Only configurations with a second set have that setting.
    second: dict[str, Any] = {}
    if config.second_set:
        second = {"data_b": everywhere(config.second_set)}
    return replace(config, data=everywhere(config.data), evaluate=evaluate, **second)


def fingerprint(images: ImageSet) -> str:
    """Hash of a set's content, independent of where it is stored: 32 hexadecimal digits.

    Made from the checksums in its manifest. Without a manifest, from the size, the footer and
    evenly spaced pieces of every file, so that a large remote set need not be read completely.
    """
    made = _manifest(images)
    digest = hashlib.sha256()
    if made is not None:
        digest.update(json.dumps([shard.sha256 for shard in made.files]).encode())
        return digest.hexdigest()[:32]
    for file in images.files:
        with images.filesystem.open_input_file(file) as stream:
            size = stream.size()
            digest.update(size.to_bytes(8, "big"))
            for number in range(_PIECES):
                stream.seek(number * max(0, size - _PIECE) // _PIECES)
                digest.update(stream.read(_PIECE))
            stream.seek(max(0, size - _FOOTER))
            digest.update(stream.read(_FOOTER))
    return digest.hexdigest()[:32]


def whole(images: ImageSet) -> str:
    """Hash of all bytes of a set without a manifest: 32 hexadecimal digits.

    Empty for a set with a manifest, of more than 4 GiB, or not on a local disk.
    """
    if not Storage(images.uri).local or _manifest(images) is not None:
        return ""
    stats = [os.stat(file) for file in images.files]
    if sum(stat.st_size for stat in stats) > _WHOLE:
        return ""
    changes = [(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
    return _hash_files(tuple(zip(images.files, changes, strict=True)))


@functools.lru_cache(maxsize=4)
def _hash_files(files: tuple[tuple[str, tuple[int, int, int]], ...]) -> str:
    # Cached: resuming a run needs it twice, to compare and to write it down.
    digest = hashlib.sha256()
    for file, (size, *_) in files:
        digest.update(size.to_bytes(8, "big"))
        with open(file, "rb") as stream:
            while chunk := stream.read(2**24):
                digest.update(chunk)
    return digest.hexdigest()[:32]


def _manifest(images: ImageSet) -> manifest.Manifest | None:
    return None if _is_file(images) else manifest.read(Storage(images.uri))


def remember(run: Storage, data: str, images: ImageSet, file: str = FILE) -> None:
    """Write a set's name and fingerprints into the run's folder."""
    known: dict[str, Any] = {
        "data": data,
        "fingerprint": fingerprint(images),
        "content": whole(images),
        "count": images.count,
        "shape": list(images.shape),
    }
    run.write(file, json.dumps(known, indent=2) + "\n")


def remember_all(run: Storage, config: RunConfig, sets: Sets) -> None:
    """Write the names and fingerprints of all sets of a configuration into the run's folder."""
    remember(run, config.data, sets.images)
    if sets.other is not None:
        remember(run, config.second_set, sets.other, OTHER_FILE)


def remembered_size(run: str) -> tuple[int, int] | None:
    """Height and width of the images that a run was trained on, if the run recorded them.

    Args:
        run: its folder or URI.
    """
    storage = Storage(run)
    if not storage.exists(FILE):
        return None
    shape = read_json(storage, FILE, _Known, _REMEDY)["shape"]
    return (shape[1], shape[2]) if len(shape) == 3 else None


def check_all_same(run: Storage, config: RunConfig, sets: Sets) -> None:
    """As `check_same`, of all sets of a configuration."""
    check_same(run, config.data, sets.images)
    if sets.other is not None:
        check_same(run, config.second_set, sets.other, "--data_b", OTHER_FILE)


def check_same(
    run: Storage, data: str, images: ImageSet, option: str = "--data", file: str = FILE
) -> None:
    """Check that a set is the one that a run was trained on, if the run recorded it.

    Args:
        option: the setting that names it.
        file: of the run, which has its fingerprints.

    Raises:
        UserError: when it is another one.
    """
    if not run.exists(file):
        return
    known = read_json(run, file, _Known, _REMEDY)
    if known["fingerprint"] == fingerprint(images):
        content = known.get("content") and whole(images)
        # Either may be empty, for instance if the set was moved from remote storage to a disk.
        if not content or content == known["content"]:
            return
    shape = ImageShape(*known["shape"]) if len(known["shape"]) == 3 else known["shape"]
    raise UserError(
        f"{option} {data}: holds other images than the run {run.uri} was trained on, which were "
        f"{known['count']:,} of {shape} in {known['data']}; put that set back, or give its place "
        f"with {option}"
    )


def _is_file(images: ImageSet) -> bool:
    storage = Storage(images.uri)
    return bool(storage.filesystem.get_file_info(storage.path()).is_file)
