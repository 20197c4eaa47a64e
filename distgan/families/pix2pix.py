"""pix2pix: an image from an image, learned from pairs by a discriminator and by L1.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017).
Write x for the input, y for the target and G(x) for the output. In a step the discriminator
learns to tell (x, y) from (x, G(x)); then the generator minimises, against the updated one,

    adversarial loss of (x, G(x)) + 100 mean |y - G(x)|.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from distgan.families.paired import PairedTranslation
from distgan.families.pix2pix_config import Pix2PixConfig


class Pix2Pix(PairedTranslation):
    """Isola et al. 2017, with the losses, penalties, networks and aids of `Pix2PixConfig`."""

    config: Pix2PixConfig
    distances: ClassVar[tuple[str, ...]] = ("g_l1",)

    def apart(self, images_seen: int, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The mean absolute difference, weighted."""
        return {"g_l1": self.config.l1.at(images_seen) * (made - target).abs().mean()}
