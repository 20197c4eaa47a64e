"""Images that a user names for a trained model: files, folders and sets, of the model's shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distgan.config.shape import ImageShape
from distgan.data.decoder import ENDINGS, BadImageError, Decoded
from distgan.data.images import PACKAGED
from distgan.data.sources import Item, open_source
from distgan.data.sources.base import LARGEST_FILE, regular
from distgan.data.sources.named import NAMED
from distgan.data.transform import Transform
from distgan.errors import UserError, first_line, printable


@dataclass(frozen=True)
class Inputs:
    """Some of the images that were named."""

    pixels: NDArray[np.uint8]
    """uint8 (n, height, width, channels)."""
    labels: tuple[int | None, ...]
    """Of each, as the set has them; None without."""
    classes: tuple[str, ...]
    """Names of the labels; empty where not all inputs have the same."""
    changed: int
    """How many were of another size, and were cropped and resized as `data prepare` does."""


def read_inputs(names: Sequence[str], image: ImageShape, num: int) -> Inputs:
    """Up to ``num`` of all images, evenly spaced among them, in a model's shape.

    Args:
        names: image files, and whatever `distgan data prepare` takes: folders, archives, sets.
        image: what they are cropped, resized and turned to gray or colour for.

    Raises:
        UserError: for what does not exist, is damaged, or is no image.
    """
    opened = [_open(name) for name in names]
    total = sum(len(each) for each in opened)
    chosen = np.arange(min(num, total)) * total // min(num, total)
    transform = Transform((image.height, image.width), gray=image.channels == 1)
    sizes: list[tuple[int, int]] = []

    def hear(decoded: Decoded) -> None:
        sizes.append((decoded.image.height, decoded.image.width))

    pixels, labels, first = [], [], 0
    for each in opened:
        mine = chosen[(chosen >= first) & (chosen < first + len(each))] - first
        first += len(each)
        for item in each.read(mine):
            if isinstance(item.image, np.ndarray):
                sizes.append((item.image.shape[0], item.image.shape[1]))
            try:
                pixels.append(transform.pixels(item.image, hear))
            except BadImageError as error:
                raise UserError(f"{item.where}: {error}; leave it out") from None
            labels.append(item.label)
    kinds = {each.classes for each in opened}
    changed = sum(size != transform.size for size in sizes)
    classes = kinds.pop() if len(kinds) == 1 else ()
    return Inputs(np.stack(pixels), tuple(labels), classes, changed)


class _Opened:
    """A file, or a source of images."""

    def __init__(self, name: str) -> None:
        self._file: Path | None = None
        self.classes: tuple[str, ...] = ()
        path = Path(name)
        if path.suffix[1:].lower() in ENDINGS and path.is_file():
            self._file = path
            return
        if name in NAMED and name not in PACKAGED and not path.exists():
            raise UserError(
                f"{name}: is not here yet; make it with `distgan data prepare {name} --out {name}`"
            )
        self._source = open_source(str(PACKAGED.get(name, name)), "train")
        self.classes = self._source.classes

    def __len__(self) -> int:
        return 1 if self._file is not None else self._source.count

    def read(self, numbers: NDArray[np.int64]) -> Iterator[Item]:
        if self._file is None:
            yield from self._source.read(numbers)
        elif len(numbers):
            yield _item(self._file)


def _open(name: str) -> _Opened:
    try:
        return _Opened(name)
    except UserError as error:
        raise UserError(f"INPUT {error}") from None


def _item(file: Path) -> Item:
    shown = printable(str(file))
    if not regular(file) or file.stat().st_size > LARGEST_FILE:
        raise UserError(
            f"INPUT {shown}: is no image of up to {LARGEST_FILE >> 20} MiB; name another"
        )
    try:
        return Item(file.read_bytes(), f"INPUT {shown}")
    except OSError as error:
        raise UserError(f"INPUT {shown}: cannot be read ({first_line(error)})") from None
