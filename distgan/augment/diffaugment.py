"""DiffAugment: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training"
(NeurIPS 2020).

Each of color, translation and cutout changes every image, with the ranges of the paper's
appendix. What a shift uncovers and a cutout removes is 0, mid grey, as in the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.augment.base import AugmentationSettings, Numbers, per_image
from distgan.config.settings import SETTINGS, split_commas

_SHIFT = 1 / 8
"""The longest translation, as a share of height and width, before it is rounded."""
_CUTOUT = 1 / 2
"""The side of the removed rectangle, as a share of height and width, before it is rounded."""


def color(images: Tensor, numbers: Numbers) -> Tensor:
    """Brightness +-0.5, saturation times 0 to 2, contrast times 0.5 to 1.5, in this order.

    Saturation spreads a pixel's channels about their mean, contrast the whole image about
    its mean.
    """
    images = images + per_image(numbers.uniform(-0.5, 0.5))
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * per_image(numbers.uniform(0, 2))
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * per_image(numbers.uniform(0.5, 1.5))


def translation(images: Tensor, numbers: Numbers) -> Tensor:
    """By whole pixels, up to an eighth of the height and of the width, rounded: 4 of 28, 4 of 32.

    Rounded as in the newest released code; an older one rounds down.
    """
    n, channels, height, width = images.shape
    rows, rows_inside = _shifted(height, numbers)
    columns, columns_inside = _shifted(width, numbers)
    # A cyclic shift followed by a mask: every pixel is read exactly once, so the backward is a
    # gather and not a sum by index, which is slower and not deterministic on GPUs.
    index = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1)
    moved = images.flatten(2).gather(2, index.expand(-1, channels, -1)).view(images.shape)
    return moved * (rows_inside[:, :, None] & columns_inside[:, None, :]).unsqueeze(1)


def _shifted(size: int, numbers: Numbers) -> tuple[Tensor, Tensor]:
    # The index that each row or column comes from, modulo the size, and whether it lay inside.
    longest = int(size * _SHIFT + 0.5)
    shift = numbers.integer(2 * longest + 1) - longest
    source = torch.arange(size, device=shift.device) - shift[:, None]
    return source % size, (source >= 0) & (source < size)


def cutout(images: Tensor, numbers: Numbers) -> Tensor:
    """Set a rectangle of half the height and width, rounded (17 of 33), to 0; it may extend beyond
    the edge."""
    height, width = images.shape[2:]
    hole = _covered(height, numbers)[:, None, :, None] & _covered(width, numbers)[:, None, None, :]
    return images * ~hole


def _covered(size: int, numbers: Numbers) -> Tensor:
    # bool (n, size): the rows or columns of the hole, whose centre is anywhere in the image.
    length = int(size * _CUTOUT + 0.5)
    first = numbers.integer(size + 1 - length % 2) - length // 2
    offset = torch.arange(size, device=first.device) - first[:, None]
    return (offset >= 0) & (offset < length)


PARTS: dict[str, tuple[Callable[[Tensor, Numbers], Tensor], int]] = {
    "color": (color, 3),
    "translation": (translation, 2),
    "cutout": (cutout, 2),
}
"""The function of every part of a policy, and how many numbers it uses."""

Policy = Annotated[
    tuple[Literal["color", "translation", "cutout"], ...],
    BeforeValidator(split_commas),
    Field(min_length=1),
]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiffAugmentSettings(AugmentationSettings):
    """DiffAugment (Zhao et al. 2020)."""

    name: Literal["diffaugment"] = "diffaugment"
    """What the discriminator's images go through: none, flip, diffaugment or ada."""
    policy: Policy = ("color", "translation", "cutout")
    """Which of color, translation and cutout, in the order in which they are applied."""

    @property
    def numbers(self) -> int:
        """See `AugmentationSettings.numbers`."""
        return sum(PARTS[part][1] for part in self.policy)

    def apply(self, images: Tensor, numbers: Tensor, probability: Tensor) -> Tensor:
        """See `AugmentationSettings.apply`."""
        columns = Numbers(numbers)
        for part in self.policy:
            images = PARTS[part][0](images, columns)
        return images
