"""The IDX files of MNIST and sets in its format (LeCun et al. 1998), gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from distgan.data.sources.base import (
    ArraySource,
    numbered_classes,
    open_regular,
    refuse_without_memory,
)
from distgan.data.sources.listing import beside
from distgan.data.sources.named import NAMED
from distgan.errors import UserError, first_line, printable

ABOUT = "IDX files such as train-images-idx3-ubyte.gz"

_PREFIXES = {"train": "train", "test": "t10k"}
"""File-name prefix of each split."""

_KNOWN_LABELS = {"657fbd221bfc9f41": "fashion-mnist", "3d0e6c6ea990b53b": "fashion-mnist"}
"""Sets with known class names, by the first digits of the SHA-256 of a split's labels."""


def looks_like(path: Path) -> bool:
    """Whether this is a folder of IDX files."""
    return path.is_dir() and any(path.glob("*-images[-.]idx3-ubyte*"))


def open_split(path: Path, split: str) -> ArraySource:
    """One split of a folder of IDX files.

    Raises:
        UserError: when a file is missing, truncated, or they do not fit each other.
    """
    images, labels = read_split(path, split)
    file = _find(path, f"{_PREFIXES[split]}-images", "idx3-ubyte")
    known = _KNOWN_LABELS.get(hashlib.sha256(labels.tobytes()).hexdigest()[:16])
    shown = printable(str(path))
    classes = NAMED[known].classes if known else numbered_classes(int(labels.max(initial=0)), shown)
    taken = {name for prefix in _PREFIXES.values() for name in _names(prefix)}
    return ArraySource(
        "idx",
        images[..., None],
        labels.astype(np.int64),
        classes,
        [(printable(str(file)), len(images))],
        beside(path, taken, "files beside the IDX files"),
    )


def read_split(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, uint8 (n, h, w), and labels, uint8 (n,), of a folder of IDX files.

    Raises:
        UserError: when a file is missing, truncated, or they do not fit each other.
    """
    prefix = _PREFIXES[split]
    images = read_idx(_find(folder, f"{prefix}-images", "idx3-ubyte"), dimensions=3)
    labels = read_idx(_find(folder, f"{prefix}-labels", "idx1-ubyte"), dimensions=1)
    if len(images) != len(labels):
        shown = printable(str(folder))
        raise UserError(
            f"{shown}: {len(images)} images but {len(labels)} labels in split {split}; "
            "copy both files again"
        )
    return images, labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file, of the given number of dimensions.

    Raises:
        UserError: when the file is not IDX, not uint8, or its length does not match its header.
    """
    shown = printable(str(path))
    try:
        with _open(path) as stream:
            header = stream.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:4] != bytes([0, 0, 8, dimensions]):
                raise UserError(f"{shown}: not an IDX file of uint8 in {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", header[4:])
            promised = math.prod(shape)
            if promised == 0 and shape[0]:
                raise UserError(f"{shown}: promises images of no pixels, {shape}; copy it again")
            refuse_without_memory(promised, shown, "copy it again, or free memory")
            # A small gzip file may unpack to a huge one: at most one byte more than the header's
            # size is unpacked.
            content = stream.read(promised + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{shown}: cannot be read ({first_line(error)}); copy it again") from None
    if len(content) != promised:
        found = len(content) if len(content) < promised else "more"
        raise UserError(f"{shown}: promises {promised} bytes but holds {found}; copy it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _open(path: Path) -> IO[bytes]:
    stream = open_regular(path)
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return cast(IO[bytes], gzip.open(stream)) if packed else stream


def _names(prefix: str) -> list[str]:
    """All names in use for the files of a split."""
    stems = (f"{prefix}-images", "idx3-ubyte"), (f"{prefix}-labels", "idx1-ubyte")
    return [name for stem, kind in stems for name in _spellings(stem, kind)]


def _spellings(stem: str, kind: str) -> list[str]:
    # There are copies with a dot and with a dash before "idx".
    return [f"{stem}{mark}{kind}{packed}" for mark in "-." for packed in (".gz", "")]


def _find(folder: Path, stem: str, kind: str) -> Path:
    for name in _spellings(stem, kind):
        if (folder / name).exists():
            return folder / name
    raise UserError(
        f"{printable(str(folder))}: holds no {stem}-{kind} or {stem}-{kind}.gz; give a folder "
        "with it"
    )
