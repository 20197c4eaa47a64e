"""No augmentation: the discriminator sees the images as they are."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.augment.base import AugmentationSettings
from distgan.config.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class NoneSettings(AugmentationSettings):
    """No augmentation."""

    name: Literal["none"] = "none"
    """What the discriminator's images go through: none, flip, diffaugment or ada."""

    @property
    def numbers(self) -> int:
        """See `AugmentationSettings.numbers`."""
        return 0

    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        """See `AugmentationSettings.apply`."""
        return images
