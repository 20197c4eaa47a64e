"""The interface of every augmentation, and how it reads its random numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from distgan.augment.adaptation import Adaptation


class AugmentationSettings(ABC):
    """The settings of an augmentation, with the method that applies it."""

    name: str

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many uniform numbers each image consumes; 0 where nothing is random."""

    @abstractmethod
    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        """The images, changed: a differentiable function of each image and its own numbers.

        Args:
            images: float (n, channels, height, width), in [-1, 1] or nearly.
            numbers: float (n, `numbers`), uniform in (0, 1].
            probability: float (), of any one change, for augmentations that adapt theirs.

        Returns:
            float (n, channels, height, width); colours may leave [-1, 1].
        """

    def probability_at(self, images_seen: int) -> float | None:
        """The probability after so many images; None for an augmentation without a schedule."""
        return None

    def adaptation(self, device: torch.device) -> Adaptation | None:
        """What adapts the probability during a run; None where it is not adaptive."""
        return None


class Numbers:
    """The uniform numbers of n images, consumed one column at a time.

    Args:
        table: float (n, k), uniform in (0, 1].
    """

    def __init__(self, table: Tensor) -> None:
        self._columns = iter(table.unbind(1))

    def event(self, probability: Tensor | float) -> Tensor:
        """True with the given probability; exactly never at 0 and always at 1: bool (n,)."""
        return next(self._columns) <= probability

    def uniform(self, low: float, high: float) -> Tensor:
        """Uniform between ``low`` and ``high``: float (n,)."""
        return next(self._columns) * (high - low) + low

    def integer(self, count: int) -> Tensor:
        """Whole numbers from 0 to ``count`` - 1, equally likely: int64 (n,)."""
        # The numbers lie in (0, 1], so the ceiling lies in 1..count.
        return (next(self._columns) * count).ceil().long() - 1

    def normal(self) -> Tensor:
        """Standard normal: float (n,)."""
        # The quantile of 1 is infinite; that of the largest float32 below 1 is 5.3.
        quantile: Tensor = torch.special.ndtri(next(self._columns).clamp(max=1 - 2.0**-24))
        return quantile


def per_image(values: Tensor) -> Tensor:
    """(n,) -> (n, 1, 1, 1), which broadcasts against images."""
    return values.view(-1, 1, 1, 1)
