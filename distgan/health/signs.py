"""What the health of a run is judged by, read once a record.

The share of pairs that D ranks rightly and the sign statistic come from the step itself; here
is what the networks' weights, gradients and samples say.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

SAMPLES = 64
"""That a run is judged by."""


class LayerSigns(NamedTuple):
    """One weight matrix or convolution."""

    grad_norm: float
    """Euclidean norm of its gradient in the last step."""
    update_ratio: float
    """Norm of Adam's last update of it, over the norm of its weights."""


class NetworkSigns(NamedTuple):
    """A network's gradients and updates in the last step before a record."""

    grad_norm: float
    """Of all weights together."""
    update_ratio: float
    """Norm of the last update of all matrices, over their norm."""
    weight_norm: float
    """Of all matrices together."""
    layers: dict[str, LayerSigns]
    """By the weight's name; vectors, which are biases and gains, are left out."""


@torch.no_grad()
def network_signs(network: nn.Module, optimizer: torch.optim.Optimizer) -> NetworkSigns | None:
    """Read a network after its last update, or None before the first: one wait for the device.

    Gradients are already the average over ranks, so every rank finds the same.
    """
    named = {n: p for n, p in network.named_parameters() if p.grad is not None}
    if not named:
        return None
    gradients = torch._foreach_norm([p.grad for p in named.values() if p.grad is not None])
    matrices = {n: p for n, p in named.items() if p.ndim > 1}
    weights = torch._foreach_norm(list(matrices.values()))
    updates = torch._foreach_norm(_updates(optimizer, list(matrices.values())))
    found = torch.stack([*gradients, *weights, *updates]).double().tolist()
    by_name = dict(zip(named, found, strict=False))
    sizes = found[len(named) : len(named) + len(matrices)]
    moves = found[len(named) + len(matrices) :]
    return NetworkSigns(
        grad_norm=_norm(list(by_name.values())),
        update_ratio=_norm(moves) / max(_norm(sizes), 1e-30),
        weight_norm=_norm(sizes),
        layers={
            name: LayerSigns(by_name[name], move / max(size, 1e-30))
            for name, size, move in zip(matrices, sizes, moves, strict=True)
        },
    )


@torch.no_grad()
def weight_norm(network: nn.Module) -> float:
    """Euclidean norm of all matrices and convolutions of a network together."""
    matrices: list[Tensor] = [p for p in network.parameters() if p.ndim > 1]
    norm: float = torch.stack(torch._foreach_norm(matrices)).double().norm().item()
    return norm


def _norm(parts: list[float]) -> float:
    return math.hypot(*parts)


def _updates(optimizer: torch.optim.Optimizer, weights: list[Tensor]) -> list[Tensor]:
    # What Adam subtracted, from the moments it kept: Kingma and Ba 2015, algorithm 1.
    (group,) = optimizer.param_groups
    states = [optimizer.state[weight] for weight in weights]
    steps = float(states[0]["step"])
    first, second = (1 - beta**steps for beta in group["betas"])
    roots = torch._foreach_div([s["exp_avg_sq"] for s in states], second)
    torch._foreach_sqrt_(roots)
    torch._foreach_add_(roots, group["eps"])
    moved = torch._foreach_div([s["exp_avg"] for s in states], roots)
    torch._foreach_mul_(moved, group["lr"] / first)
    return list(moved)


def distances(images: Tensor) -> Tensor:
    """Of the first 64 images, float (n, c, h, w), two by two: their sum and how many there are.

    Returns:
        float64 (2,), on the images' device.
    """
    apart = torch.pdist(images[:SAMPLES].flatten(1).double())
    return torch.stack([apart.sum(), apart.new_tensor(len(apart))])
