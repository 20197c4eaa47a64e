"""The moving average of the generator's weights, from which samples are generated."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from distgan.config.optimizer import EMASettings


class EMA:
    """Keeps ``average``, an averaged copy of the generator it is given, in eval mode.

    After a batch of n images, average <- w * average + (1 - w) * weights with
    w = 0.5 ** (n / half_life). Half-life and ramp-up count images, as in Karras et al.,
    "Training Generative Adversarial Networks with Limited Data" (2020, released code).
    Buffers, such as BatchNorm statistics, are copied.
    """

    def __init__(self, generator: nn.Module, settings: EMASettings) -> None:
        self.settings = settings
        self.average = copy.deepcopy(generator).eval().requires_grad_(False)
        # Listed once: for small networks traversing the modules takes longer than averaging.
        self._averaged: list[Tensor] = list(self.average.parameters())
        self._followed: list[Tensor] = list(generator.parameters())
        self._buffers = list(zip(self.average.buffers(), generator.buffers(), strict=True))

    def weight(self, images_seen: int, batch: int) -> float:
        """The weight w of the old average, in [0, 1)."""
        half_life = self.settings.half_life.at(images_seen)
        if self.settings.ramp_up > 0:
            half_life = min(half_life, images_seen * self.settings.ramp_up)
        return 0.5 ** (batch / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, images_seen: int, batch: int) -> None:
        """Move the average towards the generator it was made of by one batch.

        Args:
            images_seen: real images seen before this batch.
            batch: real images in this batch, over all ranks.
        """
        share = 1.0 - self.weight(images_seen, batch)
        torch._foreach_lerp_(self._averaged, self._followed, share)
        for mine, theirs in self._buffers:
            mine.copy_(theirs)
