"""Pairs of images of which the pixels are known, and a family that takes pairs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic.dataclasses import dataclass

from distgan.config.settings import SETTINGS
from distgan.families import Column

from .toy_family import Toy, ToyConfig

COUNT = 37
_RANDOM = np.random.default_rng(5)
IMAGES = _RANDOM.integers(0, 256, (COUNT, 4, 6, 1), dtype=np.uint8)
"""Gray images of 4x6, all different."""
PAIRS = _RANDOM.integers(0, 256, (COUNT, 8, 12, 3), dtype=np.uint8)
"""Of twice the size and in colour: image i belongs to pair i."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PairedConfig(ToyConfig):
    """The toy, fed with pairs."""

    family: Literal["toy-pairs"] = "toy-pairs"  # type: ignore[assignment]


class Paired(Toy):
    """Takes the pair of each image as a column of its batches."""

    def columns(self) -> dict[str, Column]:
        return {"image": Column("image"), "pair": Column("pair")}


def encoded(pixels: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    """An image file of uint8 (h, w, 1 or 3), without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, kind)
    return buffer.getvalue()


def write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image file of the kind that its ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(pixels, {".png": "PNG", ".bmp": "BMP"}[path.suffix]))


def folders(folder: Path, count: int = COUNT) -> Path:
    """A/train/0000.png and B/train/0000.bmp, and so on, and one pair for test."""
    for number in range(count):
        write(folder / f"A/train/{number:04d}.png", IMAGES[number])
        write(folder / f"B/train/{number:04d}.bmp", PAIRS[number])
    write(folder / "A/test/0000.png", IMAGES[-1])
    write(folder / "B/test/0000.png", PAIRS[-1])
    return folder
