"""The optimizer of one network."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import nn

from distgan.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class AdamSettings:
    """Adam (Kingma and Ba, ICLR 2015)."""

    lr: PositiveFloat = 2e-4
    """Learning rate."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the first moment; GANs rarely gain from momentum."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the second moment."""
    eps: PositiveFloat = 1e-8
    """Added to the root of the second moment."""

    def build(self, network: nn.Module) -> torch.optim.Optimizer:
        """Adam over the parameters of ``network``, one fused kernel per update."""
        return torch.optim.Adam(
            network.parameters(),
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            fused=True,
        )
