"""Floating-point operations of a recipe's step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import distgan.networks.kernels.linear
from benchmarks.training import Training


@contextmanager
def torch_products() -> Iterator[None]:
    """Have linear layers leave oneDNN's own product alone, which torch's counter does not know."""
    linear: Any = distgan.networks.kernels.linear
    chosen = linear.mkl_is_slow
    linear.mkl_is_slow = lambda: False
    try:
        yield
    finally:
        linear.mkl_is_slow = chosen


def counter() -> FlopCounterMode:
    """Counts FLOPs of matrix products and convolutions, a multiplication and an addition as two."""
    mapping: dict[Any, Any] = {torch.ops.aten.convolution_backward: _convolution_backward}
    return FlopCounterMode(display=False, custom_mapping=mapping)


def _convolution_backward(
    grad_shape: list[int],
    x_shape: list[int],
    weight_shape: list[int],
    *settings: Any,
    out_shape: object = None,
) -> int:
    # torch's own counts the weight's gradient as if there were one group. Each gradient takes
    # what the forward takes.
    *_, transposed, _, _, wanted = settings
    places = (x_shape if transposed else grad_shape)[2:]
    once = 2 * x_shape[0] * prod(places) * prod(weight_shape)
    return once * (int(wanted[0]) + int(wanted[1]))


def flops_per_image(training: Training) -> float:
    """Of matrix products and convolutions in both updates, forward and backward, for each real
    image; trains for a cycle of steps."""
    with torch_products(), counter() as counted:
        for _ in range(training.cycle):
            training.step()
    return float(counted.get_total_flops()) / training.cycle / training.images_per_step
