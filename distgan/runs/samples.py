"""Grids of samples from a fixed z, so that pictures over time can be compared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from distgan import draws
from distgan.runs.grid import MOST_CLASSES, grid_png, to_uint8

_COLUMNS = 10


class SampleSheet:
    """Ten by ten samples; for a conditional generator a row per label, z shared by column.

    Of more than a hundred labels it shows a hundred, evenly among them, the first and the last
    with them.
    """

    def __init__(self, seed: int, latent: int, classes: int) -> None:
        self._labels: Tensor | None = None
        if classes:
            z = draws.normals(seed, "sheet", [range(_COLUMNS)], latent)
            rows = np.linspace(0, classes - 1, min(classes, MOST_CLASSES)).round().astype(int)
            self._z = torch.from_numpy(z).repeat(len(rows), 1)
            self._labels = torch.from_numpy(rows).repeat_interleave(_COLUMNS)
        else:
            self._z = torch.from_numpy(draws.normals(seed, "sheet", [range(_COLUMNS**2)], latent))

    @torch.no_grad()
    def draw(self, generator: nn.Module) -> bytes:
        """The sheet as PNG; ``generator`` is in eval mode and keeps its random state."""
        like = next(generator.parameters())
        labels = None if self._labels is None else self._labels.to(like.device)
        return grid_png(to_uint8(generator(self._z.to(like), labels)), _COLUMNS)
