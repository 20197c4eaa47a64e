"""An augmentation during a run: the function of its settings, and its current probability."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distgan.augment.base import AugmentationSettings


@dataclass(frozen=True)
class AugmentNumbers:
    """What one step's images are augmented by: float (n, k) in (0, 1] for each use.

    None where the augmentation uses no numbers.
    """

    real: Tensor | None = None
    """For the reals of the discriminator's update."""
    fake: Tensor | None = None
    """For the fakes of the discriminator's update."""
    generator: Tensor | None = None
    """For the fakes of the generator's update."""


class Augmenter:
    """Augments the discriminator's inputs, and adapts the probability to its logits."""

    def __init__(self, settings: AugmentationSettings, device: torch.device) -> None:
        self.adaptation = settings.adaptation(device)
        self._settings, self._numbers = settings, settings.numbers
        self._fixed = torch.ones((), device=device)

    def follow_schedule(self, images_seen: int) -> None:
        """Set the probability to the settings' schedule at this point, if they have one."""
        probability = self._settings.probability_at(images_seen)
        if probability is not None:
            self._fixed.fill_(probability)

    def __call__(self, images: Tensor, numbers: Tensor | None) -> Tensor:
        """The images as the discriminator is to see them: see `AugmentationSettings.apply`.

        Frames of a clip, (n, frames, c, h, w), are all augmented by the numbers of their clip.
        """
        if self._numbers == 0:
            return images
        if images.dim() == 5:
            assert numbers is not None, "the batch holds no numbers for the augmentation"
            count = images.shape[1]
            frames = self(images.flatten(0, 1), numbers.repeat_interleave(count, 0))
            return frames.view(images.shape)
        assert numbers is not None, "the batch holds no numbers for the augmentation"
        probability = self.adaptation.probability if self.adaptation else self._fixed
        return self._settings.apply(images, numbers, probability)

    def observe(self, real_logits: Tensor) -> None:
        """Count the discriminator's logits of augmented reals for the adaptation: float (n,), or
        (n, patches)."""
        if self.adaptation is not None:
            self.adaptation.observe(real_logits)
