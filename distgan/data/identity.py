"""Which set a run is trained on: known again wherever it lies, told from any other."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from distgan.data import manifest
from distgan.data.images import PACKAGED, ImageSet
from distgan.data.shape import ImageShape
from distgan.errors import UserError
from distgan.storage import Storage
from distgan.textfiles import Shape, read_json

FILE = "data.json"
"""File of a run that says which set it is trained on."""

_PIECES, _PIECE, _FOOTER = 32, 4096, 1 << 16
"""Of a file without a checksum: how many pieces are read, bytes of each, and of its end."""


class _Known(Shape):
    data: str
    fingerprint: str
    count: int
    shape: list[int]


def everywhere(data: str) -> str:
    """The name of a set as it is found from any working folder."""
    if data in PACKAGED or "://" in data:
        return data
    return os.path.abspath(os.path.expanduser(data))


def fingerprint(images: ImageSet) -> str:
    """What a set's content is known by: 32 hexadecimal digits.

    From the checksums in its manifest. Without one, from the size, the footer and pieces all
    over every file, so that a large set far away need not be read whole.
    """
    made = manifest.read(Storage(images.uri)) if not _is_file(images) else None
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


def remember(run: Storage, data: str, images: ImageSet) -> None:
    """Write into a run's folder which set it is trained on."""
    known: dict[str, Any] = {
        "data": data,
        "fingerprint": fingerprint(images),
        "count": images.count,
        "shape": list(images.shape),
    }
    run.write(FILE, json.dumps(known, indent=2) + "\n")


def check_same(run: Storage, data: str, images: ImageSet) -> None:
    """See that a set is the one that a run was trained on; one that does not say is believed.

    Raises:
        UserError: when it is another.
    """
    if not run.exists(FILE):
        return
    remedy = "delete it, and the set is taken for the right one"
    known = read_json(run, FILE, _Known, remedy)
    if known["fingerprint"] == fingerprint(images):
        return
    shape = ImageShape(*known["shape"]) if len(known["shape"]) == 3 else known["shape"]
    raise UserError(
        f"--data {data}: holds other images than the run {run.uri} was trained on, which were "
        f"{known['count']:,} of {shape} in {known['data']}; put that set back, or give its place "
        "with --data"
    )


def _is_file(images: ImageSet) -> bool:
    storage = Storage(images.uri)
    return bool(storage.filesystem.get_file_info(storage.path()).is_file)
