"""Grids of samples from a fixed z, so that pictures over time can be compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distgan import draws
from distgan.grid import grid_png, to_uint8

_COLUMNS = 10


class SampleSheet:
    """Ten by ten samples; for a conditional generator a row per label, z shared by column."""

    def __init__(self, seed: int, latent: int, classes: int) -> None:
        self._labels: Tensor | None = None
        if classes:
            z = draws.normals(seed, "sheet", [range(_COLUMNS)], latent)
            self._z = torch.from_numpy(z).repeat(classes, 1)
            self._labels = torch.arange(classes).repeat_interleave(_COLUMNS)
        else:
            self._z = torch.from_numpy(draws.normals(seed, "sheet", [range(_COLUMNS**2)], latent))

    @torch.no_grad()
    def draw(self, generator: nn.Module) -> bytes:
        """The sheet as PNG; ``generator`` is in eval mode and keeps its random state."""
        like = next(generator.parameters())
        labels = None if self._labels is None else self._labels.to(like.device)
        return grid_png(to_uint8(generator(self._z.to(like), labels)), _COLUMNS)
