"""The IDX files of MNIST and its kin (LeCun et al. 1998): gzipped or not."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.errors import UserError

SPLITS = {"train": "train", "test": "t10k"}
"""File-name prefix of each split."""


def read_split(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images, uint8 (n, h, w), and labels, uint8 (n,), of a folder of IDX files.

    Raises:
        UserError: when a file is missing, truncated, or they do not fit each other.
    """
    prefix = SPLITS[split]
    images = read_idx(_find(folder, f"{prefix}-images", "idx3-ubyte"), dimensions=3)
    labels = read_idx(_find(folder, f"{prefix}-labels", "idx1-ubyte"), dimensions=1)
    if len(images) != len(labels):
        raise UserError(
            f"{folder}: {len(images)} images but {len(labels)} labels in split {split}; "
            "copy both files again"
        )
    return images, labels


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file, of the given number of dimensions.

    Raises:
        UserError: when the file is not IDX, not uint8, or shorter than it says.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes([0, 0, 0x08, dimensions]):
        raise UserError(f"{path}: not an IDX file of uint8 in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) - header != int(np.prod(shape)):
        raise UserError(
            f"{path}: promises {int(np.prod(shape))} bytes but holds {len(content) - header}; "
            "copy it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(folder: Path, stem: str, kind: str) -> Path:
    # Some copies write a dot where others write a dash before "idx".
    for name in (f"{stem}-{kind}", f"{stem}.{kind}"):
        for path in (folder / f"{name}.gz", folder / name):
            if path.exists():
                return path
    raise UserError(f"{folder}: holds no {stem}-{kind} or {stem}-{kind}.gz; give a folder with it")
