"""Mean and covariance of features, gathered batch by batch and rank by rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distgan.parallel import World


class Moments:
    """Count, sum and sum of outer products in float64, from which a Frechet distance follows.

    ``origin`` is subtracted from the features first: for a mean far from zero, the covariance
    would otherwise be a small difference of large sums and lose digits.

    Args:
        size: length of a feature vector.
        origin: float (size,), the same on all ranks; near the mean, or zero.
    """

    def __init__(self, size: int, origin: Tensor | None = None) -> None:
        self._origin = torch.zeros(size) if origin is None else origin
        self._origin = self._origin.double().cpu()
        self._sums = torch.zeros(1 + size + size * size, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Count some feature vectors, float (n, size)."""
        shifted = features.double().cpu() - self._origin
        count = shifted.new_tensor([len(shifted)])
        self._sums += torch.cat([count, shifted.sum(0), (shifted.T @ shifted).flatten()])

    @property
    def sums(self) -> Tensor:
        """Count, sum and sum of outer products, float64 (1 + size + size * size,)."""
        return self._sums

    @staticmethod
    def from_sums(size: int, sums: Tensor, origin: Tensor | None = None) -> Moments:
        """The inverse of `sums`."""
        moments = Moments(size, origin)
        moments._sums = sums
        return moments

    @staticmethod
    def merged(parts: Sequence[Moments]) -> Moments:
        """Moments of the union of several sets of features with the same ``origin``."""
        whole = Moments(len(parts[0]._origin), parts[0]._origin)
        for part in parts:
            whole._sums += part._sums
        return whole

    def reduce(self, world: World) -> None:
        """Sum over all ranks, in place; all ranks must call it, once."""
        self._sums = world.sum(self._sums.to(world.device)).cpu()

    @property
    def count(self) -> int:
        """Feature vectors seen."""
        return int(self._sums[0].item())

    @property
    def mean(self) -> Tensor:
        """float64 (size,)."""
        return self._sums[1 : 1 + len(self._origin)] / self._sums[0] + self._origin

    @property
    def covariance(self) -> Tensor:
        """Unbiased, float64 (size, size)."""
        size, count = len(self._origin), self._sums[0]
        total = self._sums[1 : 1 + size]
        outer = self._sums[1 + size :].view(size, size)
        return (outer - torch.outer(total, total) / count) / (count - 1)
