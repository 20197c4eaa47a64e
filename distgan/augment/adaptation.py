"""The adaptive probability of ADA: it rises while the discriminator overfits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from distgan.parallel import World


class Adaptation:
    """Moves ``probability`` so that E[sign(D(real))] stays at a target.

    Karras et al., "Training Generative Adversarial Networks with Limited Data" (NeurIPS
    2020), section 3.1, heuristic r_t: 0 for a discriminator that does not overfit, 1 for one
    that knows every training image. Everything that a step touches is on the device.

    Sums of signs are whole numbers, exact in float64 in whatever order they are added: the
    probability, float64 (), takes the same values on any number of ranks.

    Args:
        target: the r_t to hold, in (-1, 1).
        interval: real images, over all ranks, between two moves.
        speed: real images in which the probability can go from 0 to 1.
    """

    def __init__(self, target: float, interval: int, speed: int, device: torch.device) -> None:
        self.probability = torch.zeros((), dtype=torch.float64, device=device)
        self._signs = torch.zeros_like(self.probability)
        self._counted, self._patches = 0, 1
        self._target, self._interval, self._speed = target, interval, speed

    @torch.no_grad()
    def observe(self, real_logits: Tensor) -> None:
        """Count the signs of this rank's part of a batch: float (n,), or (n, patches)."""
        self._patches = math.prod(real_logits.shape[1:])
        self._signs += real_logits.sign().sum(dtype=torch.float64)

    def move(self, batch: int, world: World) -> None:
        """After a global batch: move the probability if the interval is over.

        All ranks must call it.
        """
        self._counted += batch
        if self._counted < self._interval:
            return
        excess = world.sum(self._signs) / (self._counted * self._patches) - self._target
        step = excess.sign() * (self._counted / self._speed)
        self.probability.add_(step).clamp_(0, 1)
        self._signs.zero_()
        self._counted = 0

    def state_dict(self, world: World) -> dict[str, Any]:
        """For a checkpoint, the same on all ranks, all of which must call it."""
        return {
            "probability": self.probability.cpu(),
            "signs": world.sum(self._signs.clone()).cpu(),
            "counted": self._counted,
        }

    def load_state_dict(self, state: dict[str, Any], world: World) -> None:
        """Take up what `state_dict` gave, on any number of ranks."""
        self.probability.copy_(state["probability"])
        # Rank 0 takes the counts of all ranks and the others zero: only their sum is used.
        self._signs.copy_(state["signs"] if world.leads else torch.zeros(()))
        self._counted = state["counted"]
