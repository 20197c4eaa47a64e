"""Augmentation of whatever the discriminator sees, one method a file.

To add one: write its file with its settings, which apply it, and name the settings in the
union below. The command line, the feed, checkpoints and the tests that run over every
augmentation follow from that.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from distgan.augment.ada import ADASettings
from distgan.augment.augmenter import Augmenter, AugmentNumbers
from distgan.augment.base import AugmentationSettings
from distgan.augment.diffaugment import DiffAugmentSettings
from distgan.augment.flip import FlipSettings
from distgan.augment.none import NoneSettings
from distgan.config.settings import by_name

Augmentation = Annotated[
    NoneSettings | FlipSettings | DiffAugmentSettings | ADASettings, Field(discriminator="name")
]

AUGMENTATIONS: dict[str, type[AugmentationSettings]] = by_name(Augmentation)
"""Settings of every augmentation by name."""

__all__ = [
    "AUGMENTATIONS",
    "ADASettings",
    "AugmentNumbers",
    "Augmentation",
    "AugmentationSettings",
    "Augmenter",
    "NoneSettings",
]
