"""The network F of Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation"
(ECCV 2020), section 3: it maps features of places of an image to vectors of length 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from distgan.config.settings import SETTINGS, Width
from distgan.networks.translation import Start, initialise


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ProjectorSettings:
    """Two linear layers for each layer of the generator that is looked at."""

    width: Width = 256
    """Length of the hidden and of the final vectors."""
    init: Start = "xavier"
    """How weights start: normal or xavier."""

    def build(self, channels: Sequence[int]) -> nn.Module:
        """A `Projector` for layers that have these ``channels``."""
        return Projector(channels, self)


class Projector(nn.Module):
    """For each layer Linear, ReLU, Linear, then x / (|x| + 1e-7).

    The published code makes it at the first batch; here shapes are known before.
    """

    def __init__(self, channels: Sequence[int], settings: ProjectorSettings) -> None:
        super().__init__()
        width = settings.width
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(each, width), nn.ReLU(inplace=True), nn.Linear(width, width))
            for each in channels
        )
        initialise(self, settings.init)

    def forward(self, *patches: Tensor) -> tuple[Tensor, ...]:
        """Vectors of the features at some places; see `at_places`.

        Args:
            patches: for each layer, float (n, p, c) of its channels c; p may differ.

        Returns:
            For each layer float (n, p, width); float32 where the layers compute in bfloat16.
        """
        return tuple(_unit(layer(part)) for layer, part in zip(self.layers, patches, strict=True))


def at_places(maps: Tensor, places: Tensor) -> Tensor:
    """Features at places numbered along rows: float (n, c, h, w), int64 (n, p) -> (n, p, c)."""
    flat = maps.flatten(2)
    found = flat.gather(2, places[:, None, :].expand(-1, flat.shape[1], -1))
    return found.transpose(1, 2)


def _unit(vectors: Tensor) -> Tensor:
    vectors = vectors.float() if vectors.dtype == torch.bfloat16 else vectors
    length: Tensor = torch.linalg.vector_norm(vectors, dim=2, keepdim=True)
    return vectors / (length + 1e-7)
