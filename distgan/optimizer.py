"""The optimizer of one network."""

from __future__ import annotations

import torch
from pydantic import PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from distgan.schedule import Decay, Rate, Schedule
from distgan.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamSettings:
    """Adam (Kingma and Ba, ICLR 2015)."""

    lr: Rate = Schedule(2e-4)
    """Learning rate; 2e-4:0:5M:linear for one that falls to 0 over 5M images."""
    beta1: Decay = Schedule(0)
    """Decay of the first moment; GANs rarely gain from momentum."""
    beta2: Decay = Schedule(0.99)
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam over the parameters of ``network``, one fused kernel per update."""
        return torch.optim.Adam(
            network.parameters(),
            lr=self.lr.at(0),
            betas=(self.beta1.at(0), self.beta2.at(0)),
            eps=self.eps,
            fused=True,
        )

    def follow_schedules(self, optimizer: torch.optim.Optimizer, images_seen: int) -> None:
        """Give an optimizer that `build` made the values after so many images."""
        # Constants too: a checkpoint brings those of the run that wrote it.
        for group in optimizer.param_groups:
            group["lr"] = self.lr.at(images_seen)
            group["betas"] = (self.beta1.at(images_seen), self.beta2.at(images_seen))
