"""Fixes the buckets in which DDP all-reduces gradients, so that they are equal in every backward.

In its first backward DDP sends the gradients as one bucket in the order of the parameters. In
every later one it sends smaller buckets, in the order in which the first backward's gradients
became ready. An all-reduce adds ranks in an order that depends on a number's position in the
buffer, and with three or more ranks the rounded sum depends on that order. So without this module
the first update after a start rounds differently from the same update within a run, and later
updates depend on the timing of the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def settle_buckets(wrapped: DistributedDataParallel, example: Sequence[Tensor | None]) -> None:
    """Make DDP build its final buckets now; all ranks must call it.

    One backward with a zero loss in evaluation mode, which changes neither batch statistics nor
    torch's random state, sets their order: that in which gradients become ready, so that sending
    a bucket overlaps with computing the next.

    Args:
        example: the network's arguments for one sample, of any values.
    """
    was_training = wrapped.training
    wrapped.train(False)  # type: ignore[no-untyped-call]
    try:
        # Without compilation, which would be for a batch of 1 that training never uses.
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            sums = [part.sum() for part in _tensors(wrapped(*example))]
            (torch.stack(sums).sum() * 0).backward()  # type: ignore[no-untyped-call]
            for parameter in wrapped.parameters():
                parameter.grad = None
            # DDP rebuilds its buckets in the first forward after a backward.
            with wrapped.no_sync():
                wrapped(*example)
    finally:
        wrapped.train(was_training)  # type: ignore[no-untyped-call]


def _tensors(output: Any) -> Iterator[Tensor]:
    """Every tensor of a network's output: of one, or of tuples of several, within each other."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, tuple):
        for part in output:
            yield from _tensors(part)
