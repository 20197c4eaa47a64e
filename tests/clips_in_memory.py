"""A source of clips in memory, sets that are made of it, and a plain reader of these."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from distgan.data import manifest
from distgan.data.clips import open as clip_sources
from distgan.data.clips.base import ClipItem
from distgan.data.prepare_settings import PrepareSettings
from distgan.data.sources.base import ImageData, Unreadable
from distgan.launch.prepare import prepare

LENGTHS = (5, 3, 8, 2, 5, 12, 4)


class Memory:
    """Clips in memory, of given lengths; rates take turns.

    ``damaged`` are clips and frames that cannot be read.
    """

    kind = "memory"
    notes = ()
    classes: tuple[str, ...] = ("even", "odd")

    def __init__(
        self,
        lengths: Sequence[int] = LENGTHS,
        *,
        shape: tuple[int, int, int] = (6, 4, 1),
        fps: Sequence[float | None] = (10.0,),
        damaged: Sequence[tuple[int, int]] = (),
        encoded: bool = False,
    ) -> None:
        self.lengths, self.shape, self.fps, self.count = lengths, shape, fps, len(lengths)
        self.damaged, self.encoded = damaged, encoded

    def clip(self, number: int) -> NDArray[np.uint8]:
        """uint8 (frames, h, w, c)."""
        draw = np.random.default_rng([7, number])
        return draw.integers(0, 256, (self.lengths[number], *self.shape), np.uint8)

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        for number in numbers.tolist():
            frames: list[ImageData] = list(self.clip(number))
            if self.encoded:
                frames = [png(frame) for frame in self.clip(number)]
            for clip, frame in self.damaged:
                if clip == number:
                    frames[frame] = Unreadable("cannot be read (broken)")
            rate = self.fps[number % len(self.fps)]
            label = number % 2 if self.classes else None
            yield ClipItem(frames, f"memory, clip {number}", label, rate)


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue()


def made(
    monkeypatch: pytest.MonkeyPatch, out: Path, source: Memory, workers: int = 0, **options: Any
) -> manifest.Manifest:
    """The set of a source in memory."""
    monkeypatch.setitem(clip_sources.MADE, "memory-clips", lambda split, count, seed: source)
    settings = PrepareSettings(**options)
    return prepare("memory-clips", str(out), settings, workers=workers)


def clips_in(folder: Path) -> list[NDArray[np.uint8]]:
    """All clips of a set by a plain reader: uint8 (frames, h, w, c)."""
    known = json.loads((folder / "manifest.json").read_text())
    shape = known["height"], known["width"], known["channels"]
    found = []
    for file in known["files"]:
        for frames in pq.read_table(folder / file["name"])["frames"].to_pylist():
            found.append(np.stack([pixels_of(frame, shape) for frame in frames]))
    return found


def pixels_of(frame: bytes, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    if len(frame) == np.prod(shape) and not frame.startswith(b"\x89PNG"):
        return np.frombuffer(frame, np.uint8).reshape(shape)
    return np.asarray(Image.open(io.BytesIO(frame))).reshape(shape)
