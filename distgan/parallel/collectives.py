"""Collective operations that gradients pass through, and a count of the bytes they move."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Traffic:
    """Bytes that this process handed to collective operations of training."""

    def __init__(self) -> None:
        self.bytes = 0

    def count(self, tensor: Tensor) -> Tensor:
        """Count a tensor about to be sent."""
        self.bytes += tensor.numel() * tensor.element_size()
        return tensor


TRAFFIC = Traffic()
"""Of this process."""


def all_reduce(values: Tensor) -> Tensor:
    """The sum over ranks, in place, outside of any graph."""
    dist.all_reduce(TRAFFIC.count(values))
    return values


def all_gather(values: Tensor) -> Tensor:
    """The tensors of all ranks, equally shaped, outside of any graph: (ranks, *shape)."""
    parts = values.new_empty((dist.get_world_size(), *values.shape))
    dist.all_gather_into_tensor(parts, TRAFFIC.count(values)[None])
    return parts


class _Sum(torch.autograd.Function):
    # A rank's value adds to every rank's result, so its gradient is the sum of all of
    # theirs; written with itself, it can be differentiated any number of times.
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
        padded = values.new_zeros(max(sizes))
        padded[: len(values)] = values
        gathered = all_gather(padded)
        first = sum(sizes[:rank])
        ctx.mine = slice(first, first + sizes[rank])
        return torch.cat([row[:size] for row, size in zip(gathered, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        # What a rank holds counts in the loss of every rank.
        return all_reduce(grad.clone())[ctx.mine], None, None


def whole_batch(values: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
    """One value of each sample of the global batch on every rank: (n,) -> (sum of sizes,).

    When every rank computes the same mean over the whole batch from it, DDP's average of
    the ranks' gradients is the gradient of that mean, for any sizes.

    Args:
        sizes: samples of each rank.
    """
    result: Tensor = _Whole.apply(values, sizes, rank)  # type: ignore[no-untyped-call]
    return result
