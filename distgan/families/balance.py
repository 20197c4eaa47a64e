"""Which of generator and discriminator rests for a step, by what the last step found."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from distgan.parallel import World


class Balance:
    """Lets the stronger side rest: what implementations of VAE-GANs use against a winner.

    Judged are -log D(x) and -log(1 - D(fake)), means over the last global batch, so that all ranks
    decide alike. Both are ln 2 where D cannot tell reals from fakes. The discriminator rests where
    one of them is more than the margin below that, the generator where one is more than it above;
    where both would rest, neither does.

    Args:
        margin: in nats; 0 for a balance that lets nobody rest.
    """

    def __init__(self, margin: float, device: torch.device) -> None:
        self._margin = margin
        self._costs = [math.log(2)] * 2
        self._seen = torch.zeros(2, dtype=torch.float64, device=device)

    @property
    def resting(self) -> str:
        """``generator``, ``discriminator``, or nothing."""
        even, margin = math.log(2), self._margin
        strong, weak = min(self._costs) < even - margin, max(self._costs) > even + margin
        if not margin or strong == weak:
            return ""
        return "discriminator" if strong else "generator"

    @torch.no_grad()
    def observe(self, real: Tensor, fake: Tensor, share: float) -> None:
        """Add logits of a micro-batch; ``share`` is that of `distgan.families.Terms.note`."""
        costs = torch.stack([softplus(-real).mean(), softplus(fake).mean()])
        self._seen += costs.double() * share

    def after_step(self, world: World) -> None:
        """Decide on the next step; all ranks must call it."""
        if self._margin:
            # Waits for the device, once a step.
            self._costs = world.mean(self._seen).tolist()
            self._seen.zero_()

    def state_dict(self, world: World) -> dict[str, Any]:
        """For a checkpoint, the same on all ranks."""
        return {"costs": list(self._costs)}

    def load_state_dict(self, state: dict[str, Any], world: World) -> None:
        """Restore the result of `state_dict`."""
        self._costs = list(map(float, state["costs"]))
