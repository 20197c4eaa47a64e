"""What every network promises, and the parts that several of them share."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from distgan.data.shape import ImageShape


class GeneratorSettings(Protocol):
    """The settings of a generator know how to build it."""

    name: str

    def build(self, image: ImageShape, latent: int, classes: int) -> nn.Module:
        """A module that maps z, float (n, latent), and labels, int64 (n,) or None, to
        images, float (n, channels, height, width) in [-1, 1].

        Args:
            image: shape of one image.
            latent: length of z.
            classes: number of labels, 0 for an unconditional network.
        """
        ...


class DiscriminatorSettings(Protocol):
    """The settings of a discriminator know how to build it."""

    name: str

    def build(self, image: ImageShape, classes: int) -> nn.Module:
        """A module that maps images, float (n, channels, height, width) in [-1, 1], and
        labels, int64 (n,) or None, to logits, float (n,)."""
        ...


class ConcatLabel(nn.Module):
    """[v; e]: vectors v followed by a learned embedding e of the label.

    Without classes it passes v through. ``width`` is the length of the result.
    """

    def __init__(self, features: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.width = features + (embedding if classes else 0)
        self.embed = nn.Embedding(classes, embedding) if classes else None

    def forward(self, vectors: Tensor, labels: Tensor | None) -> Tensor:
        """float (n, features), int64 (n,) or None -> float (n, width)."""
        if self.embed is None:
            return vectors
        return torch.cat([vectors, self.embed(labels)], dim=1)
