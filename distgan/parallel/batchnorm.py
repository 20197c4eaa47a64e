"""Batch normalisation over the global batch, on CPU and GPU alike.

torch's SyncBatchNorm refuses modules on the CPU, and its backward cannot be differentiated
again, which gradient penalties need. This one runs on any device of the process group. Outputs
and derivatives of any order are those of BatchNorm in one process on the whole batch, also when
ranks hold different numbers of samples.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from distgan.parallel.collectives import all_gather, sum_over_ranks


def _axes(x: Tensor) -> tuple[list[int], list[int]]:
    # The dimensions over which statistics are taken, and the shape in which they broadcast.
    return [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]


def _global_moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    # Mean and variance per channel, float (c,), and the number of values, float (1,).
    dims, _ = _axes(x)
    local_var, local_mean = torch.var_mean(x, dims, correction=0)
    count = local_mean.new_full((1,), x.numel() / x.shape[1])
    channels = x.shape[1]
    gathered = all_gather(torch.cat([count, local_mean, local_var]))
    counts, means, variances = torch.split(gathered, [1, channels, channels], 1)
    # Chan et al. 1979: combining the moments of parts avoids the cancellation in a difference of
    # sums of squares.
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return mean, var, total


class _GlobalNormalise(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) over all ranks (Ioffe and Szegedy 2015, algorithm 1).

    With ``weight`` and ``bias``, float (c,), scaled and shifted.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, var, total = _global_moments(x.float() if x.dtype == torch.bfloat16 else x)
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), total)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, var, total)
        out = functional.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)
        return out, mean, var, total

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, mean, inverse, total = ctx.saved_tensors
        dims, shape = _axes(x)
        if torch.is_grad_enabled():
            # For a second derivative the statistics must be functions of x: computed again here.
            mean = sum_over_ranks(x.sum(dims)) / total
            centred = x - mean.view(shape)
            inverse = torch.rsqrt(sum_over_ranks(centred.square().sum(dims)) / total + ctx.eps)
        normal = (x - mean.view(shape)) * inverse.view(shape)
        grad_bias = grad.sum(dims)
        grad_weight = (grad * normal).sum(dims)
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None
        means = sum_over_ranks(torch.cat([grad_bias, grad_weight])) / total
        mean_grad, mean_grad_normal = means.chunk(2)
        grad_x = grad - mean_grad.view(shape) - normal * mean_grad_normal.view(shape)
        grad_x = grad_x * (weight * inverse).view(shape)
        return grad_x.to(x.dtype), grad_weight, grad_bias, None


class GlobalBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm whose training statistics are those of the global batch.

    Takes float (n, c, ...). Parameters, buffers and state-dict names are BatchNorm's,
    so checkpoints do not depend on the number of processes.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        """float (n, c, ...) -> the same shape."""
        if not self.training:
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if weight is None:
            like = input.float() if input.dtype == torch.bfloat16 else input
            weight = like.new_ones(self.num_features)
            bias = like.new_zeros(self.num_features)
        out, mean, var, total = _GlobalNormalise.apply(  # type: ignore[no-untyped-call]
            input, weight, bias, self.eps
        )
        if self.track_running_stats and self.running_mean is not None:
            assert self.running_var is not None
            with torch.no_grad():
                momentum = 0.1 if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean, momentum)
                self.running_var.lerp_(var * (total / (total - 1)), momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
        result: Tensor = out
        return result


def convert_batch_norm(network: nn.Module) -> nn.Module:
    """Replace every BatchNorm inside ``network`` by `GlobalBatchNorm`, keeping its weights."""
    for name, child in network.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            replacement = GlobalBatchNorm(
                child.num_features,
                child.eps,
                child.momentum,
                child.affine,
                child.track_running_stats,
            )
            replacement.load_state_dict(child.state_dict())
            like = next((t for t in (child.weight, child.running_mean) if t is not None), None)
            if like is not None:
                replacement.to(like)
            setattr(network, name, replacement.train(child.training))
        else:
            convert_batch_norm(child)
    return network


@contextlib.contextmanager
def kept_statistics(*networks: nn.Module) -> Iterator[None]:
    """A context in which forwards in training mode do not update running batch statistics."""
    norms = [
        module
        for network in networks
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def has_batch_norm(network: nn.Module) -> bool:
    """Whether a sample's output depends on the others in its batch, through a batch norm."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
