"""Horizontal flips, for images whose mirror images are as likely."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.augment.base import AugmentationSettings, Numbers, per_image
from distgan.config.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FlipSettings(AugmentationSettings):
    """Every second image mirrored, left to right."""

    name: Literal["flip"] = "flip"
    """What the discriminator's images go through: none, flip, diffaugment or ada."""

    @property
    def numbers(self) -> int:
        """See `AugmentationSettings.numbers`."""
        return 1

    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        """See `AugmentationSettings.apply`."""
        mirrored = per_image(Numbers(numbers).event(0.5))
        return torch.where(mirrored, images.flip(3), images)
