"""What a batch of a family holds: columns of the data, and random numbers of every sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.config.clip import Clips
from distgan.config.shape import ImageShape


@dataclass(frozen=True)
class DataSpec:
    """What networks have to know of a run's data.

    ``image`` is the shape of an image and ``classes`` are the names of the labels. ``pair`` is the
    shape of the stored partner of each image, and ``other`` that of the images of a second set;
    None without. Of a set of clips ``image`` is the shape of a frame and ``clips`` are its lengths;
    None of images.
    """

    image: ImageShape
    classes: tuple[str, ...] = ()
    pair: ImageShape | None = None
    other: ImageShape | None = None
    clips: Clips | None = None

    @staticmethod
    def numbered(image: ImageShape, classes: int) -> DataSpec:
        """With labels whose names are their numbers."""
        return DataSpec(image, tuple(map(str, range(classes))))

    def shape_of(self, column: Column) -> ImageShape:
        """The shape of the images of a column. Of two halves of one set both have that of it."""
        if column.kind == "pair":
            assert self.pair is not None
            return self.pair
        return self.other if column.second and self.other is not None else self.image


@dataclass(frozen=True)
class Column:
    """One column of a batch.

    ``image``: stored as uint8 (n, h, w, c), fed as float (n, c, h, w) in [-1, 1].
    ``label``: int64 (n,).
    ``pair``: the stored partner of ``image``, as that one, of a shape of its own.
    ``frames``: of a set of clips, those that the family's `FrameRule` chooses of each: stored as
    uint8 (n, frames, h, w, c), fed as float (n, frames, c, h, w) in [-1, 1].
    ``times``: which frames of their clips these are, float (n, frames).

    Of the batch's samples, or with ``next_batch`` of those a whole batch later in the order. With
    ``second`` of the run's second set, or the second half of a halved one, in its own order.
    """

    kind: Literal["image", "label", "pair", "frames", "times"]
    next_batch: bool = False
    second: bool = False


@dataclass(frozen=True)
class Draw:
    """Random numbers of every sample, float (n, size): standard normal, or uniform in (0, 1]."""

    kind: Literal["normal", "uniform"]
    size: int


@dataclass(frozen=True)
class Batch:
    """This process's part of a global micro-batch, on its device.

    ``columns`` and ``draws`` go by the names that the family gave them. ``numbers`` are the
    samples' places in the order of the whole training, int64 (n,), which random layers draw by;
    None where nothing is drawn. ``weight`` is n times the number of processes over the global
    micro-batch: 1 for equal shares, and what makes the average of gradients exact for others.
    """

    columns: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]
    weight: float = 1.0
    numbers: Tensor | None = None

    @property
    def labels(self) -> Tensor | None:
        """The column ``label``, int64 (n,), if there is one."""
        return self.columns.get("label")


GENERATORS: dict[str, Callable[[int, str, Sequence[range], int], NDArray[np.float32]]] = {
    "normal": draws.normals,
    "uniform": draws.uniforms,
}
"""What makes the numbers of each kind of `Draw`."""


def drawn(wanted: Mapping[str, Draw], seed: int, purpose: str, numbers: range) -> dict[str, Tensor]:
    """Random numbers of samples that are not trained on: float32 (n, size) by name.

    The stream of the only one is the ``purpose``; of several, the purpose and their names.
    """
    found = {}
    for name, draw in wanted.items():
        stream = purpose if len(wanted) == 1 else f"{purpose}-{name}"
        found[name] = torch.from_numpy(GENERATORS[draw.kind](seed, stream, [numbers], draw.size))
    return found
