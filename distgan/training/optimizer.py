"""The optimizer of one network."""

from __future__ import annotations

import torch
from torch import nn

from distgan.config.optimizer import AdamSettings


def build(settings: AdamSettings, network: nn.Module) -> torch.optim.Optimizer:
    """Adam over the parameters of ``network``, one fused kernel per update."""
    return torch.optim.Adam(
        network.parameters(),
        lr=settings.lr.at(0),
        betas=(settings.beta1.at(0), settings.beta2.at(0)),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def follow_schedules(
    settings: AdamSettings, optimizer: torch.optim.Optimizer, images_seen: int
) -> None:
    """Give an optimizer that `build` made the values after so many images."""
    # Constants too: a checkpoint restores those of the configuration that wrote it.
    for group in optimizer.param_groups:
        group["lr"] = settings.lr.at(images_seen)
        group["weight_decay"] = settings.weight_decay
        group["betas"] = (settings.beta1.at(images_seen), settings.beta2.at(images_seen))
