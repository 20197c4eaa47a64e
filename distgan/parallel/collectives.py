"""Differentiable collective operations of a step, and a count of the bytes that they send."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from distgan.parallel.groups import GROUPS


class Traffic:
    """Bytes that this process handed to collective operations of training."""

    def __init__(self) -> None:
        self.bytes = 0

    def count(self, tensor: Tensor) -> Tensor:
        """Count a tensor about to be sent."""
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


TRAFFIC = Traffic()
"""The counter of this process."""


def all_reduce(values: Tensor) -> Tensor:
    """The sum over ranks, in place, not differentiable."""
    dist.all_reduce(TRAFFIC.count(values), group=GROUPS.statistics)
    return values


def all_gather(values: Tensor) -> Tensor:
    """The equally shaped tensors of all ranks, not differentiable: (ranks, *shape)."""
    parts = values.new_empty((dist.get_world_size(), *values.shape))
    dist.all_gather_into_tensor(parts, TRAFFIC.count(values)[None], group=GROUPS.statistics)
    return parts


class _Sum(torch.autograd.Function):
    # A rank's value contributes to every rank's result, so its gradient is the sum over ranks of
    # their gradients. As the backward is this same function, any derivative exists.
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return all_reduce(values.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return sum_over_ranks(grad.contiguous())


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum over ranks, differentiable to any order."""
    result: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return result


class _Whole(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        padded = values.new_zeros(max(sizes), *values.shape[1:])
        padded[: len(values)] = values
        gathered = all_gather(padded)
        first = sum(sizes[:rank])
        ctx.mine = slice(first, first + sizes[rank])
        return torch.cat([row[:size] for row, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # A rank's values contribute to the loss of every rank, so gradients are summed.
        return all_reduce(grad.clone())[ctx.mine], None, None


def whole_batch(values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    """Gather the values of each sample of the global batch: (n, ...) -> (sum of sizes, ...).

    If every rank computes the same mean over the whole batch from it, DDP's average of the ranks'
    gradients is the gradient of that mean, for any sizes.

    Args:
        sizes: number of samples of each rank.
    """
    result: Tensor = _Whole.apply(values, sizes, rank)  # type: ignore[no-untyped-call]
    return result
