"""Batch normalisation over the global batch, on CPU and GPU alike.

torch's SyncBatchNorm refuses modules on the CPU; this one runs wherever the process
group does, and gives what BatchNorm gives in one process on the whole batch, also when
ranks hold different numbers of samples.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional


class _GlobalNormalise(torch.autograd.Function):
    """Normalise by mean and variance over all ranks (Ioffe and Szegedy 2015, algorithm 1)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        dims = [0, *range(2, x.dim())]
        local_var, local_mean = torch.var_mean(x, dims, correction=0)
        count = x.new_full((1,), x.numel() / x.shape[1])
        gathered = [torch.empty(2 * len(weight) + 1).to(x) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, torch.cat([count, local_mean, local_var]))
        counts, means, variances = torch.split(
            torch.stack(gathered), [1, len(weight), len(weight)], 1
        )
        # Chan et al. 1979: combining moments of parts keeps the digits that a
        # difference of sums of squares loses.
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        var = (counts * (variances + (means - mean) ** 2)).sum(0) / total
        ctx.save_for_backward(x, weight, mean, torch.rsqrt(var + eps), total)
        ctx.mark_non_differentiable(mean, var, total)
        out = functional.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)
        return out, mean, var, total

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, weight, mean, inverse, total = ctx.saved_tensors
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        normal = (x - mean.view(shape)) * inverse.view(shape)
        grad_bias = grad.sum(dims)
        grad_weight = (grad * normal).sum(dims)
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None
        sums = torch.cat([grad_bias, grad_weight])
        dist.all_reduce(sums)
        mean_grad, mean_grad_normal = (sums / total).chunk(2)
        grad_x = grad - mean_grad.view(shape) - normal * mean_grad_normal.view(shape)
        return grad_x * (weight * inverse).view(shape), grad_weight, grad_bias, None


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
        out, mean, var, total = _GlobalNormalise.apply(  # type: ignore[no-untyped-call]
            input, self.weight, self.bias, self.eps
        )
        if self.running_mean is not None and self.running_var is not None:
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
