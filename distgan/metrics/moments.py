"""Mean and covariance of features, gathered batch by batch and rank by rank."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from distgan.parallel import World


class Moments:
    """Count, mean and scatter matrix in float64, from which a Frechet distance follows.

    The scatter is the sum of outer products about the mean; sums about zero would lose the
    digits of a covariance that is small beside the squared mean. Parts are merged by the
    formulas of Chan, Golub and LeVeque (1979).

    Args:
        size: length of a feature vector.
    """

    def __init__(self, size: int) -> None:
        self._count = 0
        self._mean = torch.zeros(size, dtype=torch.float64)
        self._scatter = torch.zeros(size, size, dtype=torch.float64)

    @staticmethod
    def of(features: Tensor) -> Moments:
        """Those of float (n, size) alone."""
        moments = Moments(features.shape[1])
        moments.add(features)
        return moments

    def add(self, features: Tensor) -> None:
        """Count some feature vectors, float (n, size)."""
        if len(features) == 0:
            return
        rows = features.double().cpu()
        mean = rows.mean(0)
        rows = rows - mean
        self._merge(len(rows), mean, rows.T @ rows)

    def _merge(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        whole = self._count + count
        if whole == 0:
            return
        apart = mean - self._mean
        share = count / whole
        self._scatter += scatter
        self._scatter.addr_(apart, apart, alpha=self._count * share)
        self._mean += apart * share
        self._count = whole

    def to_tensor(self) -> Tensor:
        """Count, mean and scatter, float64 (1 + size + size * size,); see `from_tensor`."""
        count = self._mean.new_tensor([self._count])
        return torch.cat([count, self._mean, self._scatter.flatten()])

    @staticmethod
    def from_tensor(size: int, numbers: Tensor) -> Moments:
        """The inverse of `to_tensor`."""
        moments = Moments(size)
        moments._count = int(numbers[0].item())
        moments._mean = numbers[1 : 1 + size].clone()
        moments._scatter = numbers[1 + size :].view(size, size).clone()
        return moments

    @staticmethod
    def merged(parts: Sequence[Moments]) -> Moments:
        """Moments of the union of several sets of features."""
        whole = Moments(len(parts[0]._mean))
        counts = whole._mean.new_tensor([part._count for part in parts])
        means = torch.stack([part._mean for part in parts])
        whole._count = sum(part._count for part in parts)
        whole._mean = counts @ means / max(1, whole._count)
        apart = (means - whole._mean) * counts.sqrt()[:, None]
        torch.mm(apart.T, apart, out=whole._scatter)
        for part in parts:
            whole._scatter += part._scatter
        return whole

    def reduce(self, world: World) -> None:
        """Merge those of all ranks, in place; all ranks must call it, once."""
        if world.size == 1:
            return
        sums = torch.cat([self._mean.new_tensor([self._count]), self._mean * self._count])
        sums = world.sum(sums.to(world.device)).cpu()
        mean = sums[1:] / sums[0].clamp_min(1)
        # About the mean of all ranks, so that the scatters add.
        apart = self._mean - mean
        scatter = self._scatter + torch.outer(apart, apart * self._count)
        self._scatter = world.sum(scatter.to(world.device)).cpu()
        self._mean, self._count = mean, int(sums[0].item())

    @property
    def count(self) -> int:
        """Feature vectors seen."""
        return self._count

    @property
    def mean(self) -> Tensor:
        """float64 (size,)."""
        return self._mean

    @property
    def covariance(self) -> Tensor:
        """Unbiased, float64 (size, size)."""
        return self._scatter / (self._count - 1)
