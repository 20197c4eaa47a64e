"""Floating-point operations of a recipe's step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

import distgan.networks.linear
from benchmarks.training import Training


@contextmanager
def torch_products() -> Iterator[None]:
    """Have linear layers leave oneDNN's own product alone, which torch's counter does not know."""
    linear: Any = distgan.networks.linear
    chosen = linear.mkl_is_slow
    linear.mkl_is_slow = lambda: False
    try:
        yield
    finally:
        linear.mkl_is_slow = chosen


def flops_per_image(training: Training) -> float:
    """Of matrix products and convolutions in both updates, forward and backward, for each real
    image; trains for a cycle of steps."""
    with torch_products(), FlopCounterMode(display=False) as counted:
        for _ in range(training.cycle):
            training.step()
    return float(counted.get_total_flops()) / training.cycle / training.images_per_step
