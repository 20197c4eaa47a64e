"""The buckets in which data-parallel gradients travel, the same in every backward.

DDP sends the gradients of its first backward as one bucket in the order of the parameters, and
of every later one in smaller buckets, in the order in which the first one's became ready. An
all-reduce adds ranks in an order that depends on where in its buffer a number lies, and from
three ranks on the sum depends on that order. Left alone, the first update after every start
would round otherwise than the same update within a run, and the later ones as the first update
happened to go.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


def settle_buckets(wrapped: DistributedDataParallel, example: Sequence[Tensor | None]) -> None:
    """Make DDP build its final buckets now; all ranks must call it.

    One backward of zeros in evaluation mode, which leaves batch statistics and torch's random
    numbers alone, sets their order: that in which gradients become ready, so that sending them
    overlaps with computing the others.

    Args:
        example: what the network takes, of one sample and of any values.
    """
    was_training = wrapped.training
    wrapped.train(False)  # type: ignore[no-untyped-call]
    try:
        # Not compiled: that would be for a shape that training never has.
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            (wrapped(*example).sum() * 0).backward()
            for parameter in wrapped.parameters():
                parameter.grad = None
            # The forward after the first backward is where DDP builds them anew.
            with wrapped.no_sync():
                wrapped(*example)
    finally:
        wrapped.train(was_training)  # type: ignore[no-untyped-call]
