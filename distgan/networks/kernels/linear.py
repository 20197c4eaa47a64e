"""A linear layer that multiplies with oneDNN where torch's MKL product is slower.

torch multiplies float32 matrices on x86 with MKL, which does not use AVX-512 on AMD processors:
on Zen 4 oneDNN computes the same product 2.2 times as fast, forward and backward (the same sums
in another order). Everywhere else this is `torch.nn.Linear`.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

_SMALLEST = 4096
"""Elements of a weight below which oneDNN is not faster."""


@functools.cache
def mkl_is_slow() -> bool:
    """Whether this processor is one on which oneDNN was measured to be faster."""
    if not (sys.platform == "linux" and torch.backends.mkldnn.is_available()):  # type: ignore[no-untyped-call]
        return False
    information = Path("/proc/cpuinfo")
    amd = information.exists() and "AuthenticAMD" in information.read_text()
    found = hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return amd and found and torch.backends.cpu.get_cpu_capability() == "AVX512"


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    # x weight^T + bias, for arguments of any strides.
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "")
    return result


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
        result = _product(x, weight, bias, "relu" if relu else "none")
        ctx.save_for_backward(x, weight, result if relu else None)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, rectified = ctx.saved_tensors
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        if rectified is not None:
            grad = torch.ops.aten.threshold_backward(grad, rectified, 0)
        if torch.is_grad_enabled():
            # With ordinary operators, which can be differentiated again for gradient penalties.
            through_x = grad @ weight if for_x else None
            through_weight = grad.t() @ x if for_weight else None
        else:
            through_x = _product(grad, weight.t()) if for_x else None
            through_weight = _product(grad.t(), x.t()) if for_weight else None
        return through_x, through_weight, grad.sum(0) if for_bias else None, None


class Linear(nn.Linear):
    """`torch.nn.Linear` for float (n, inputs), with oneDNN where that is faster."""

    def forward(self, input: Tensor, relu: bool = False) -> Tensor:
        """float (n, inputs) -> float (n, outputs), with a ReLU on top if ``relu``."""
        fits = (
            input.dtype == self.weight.dtype == torch.float32
            and input.device.type == "cpu"
            and self.weight.numel() >= _SMALLEST
            and input.dim() == 2
        )
        # torch.compile can trace neither the custom function nor the check of the processor.
        others = torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu")
        if fits and not others and mkl_is_slow():
            if not torch.is_grad_enabled():
                return _product(input, self.weight, self.bias, "relu" if relu else "none")
            result: Tensor = _OneDNNLinear.apply(  # type: ignore[no-untyped-call]
                input, self.weight, self.bias, relu
            )
            return result
        # In place is safe: the backward of a linear layer does not need its output.
        return super().forward(input).relu_() if relu else super().forward(input)
