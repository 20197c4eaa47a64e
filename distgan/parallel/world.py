"""The processes of a run, and the collective operations on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distgan.parallel.batchnorm import convert_batch_norm
from distgan.parallel.buckets import settle_buckets
from distgan.parallel.collectives import TRAFFIC, all_reduce, whole_batch
from distgan.parallel.devices import describe
from distgan.parallel.groups import GROUPS

# Where a convolution has one input channel, the gradients of its weights may have other strides for
# the same order in memory, of which DDP warns.
warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


@dataclass(frozen=True)
class World:
    """This process's place among those of the run.

    With ``size`` 1 every operation is the identity and no process group is needed.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This rank's part of a global batch: contiguous; sizes differ by at most one."""
        return slice(batch * self.rank // self.size, batch * (self.rank + 1) // self.size)

    def weight(self, batch: int) -> float:
        """The factor of a mean over this rank's share with which the average over ranks is the
        mean over the whole batch."""
        part = self.share(batch)
        count: int = part.stop - part.start
        return count * self.size / batch

    def prepare(self, network: nn.Module) -> nn.Module:
        """Replace a network's batch norms by those over the global batch, if there are ranks."""
        return convert_batch_norm(network) if self.size > 1 else network

    def wrap(
        self, network: nn.Module, example: Sequence[Tensor | None], *, compress: bool = False
    ) -> nn.Module:
        """The network with its gradients averaged over ranks during backward.

        Weights are broadcast from rank 0. Buffers are not broadcast: the synchronised batch norm
        keeps them equal, and a broadcast in every forward would reset those of other ranks
        between two forwards of one step. Every backward adds in the same order, also the first
        after a start (see `distgan.parallel.buckets`).

        Args:
            example: the network's arguments for one sample, of any values.
            compress: send gradients as bfloat16, which halves the bytes and rounds them.
        """
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        wrapped = DistributedDataParallel(
            network,
            device_ids=devices,
            process_group=GROUPS.gradients,
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
        if compress:
            # A lambda, which has no annotations: DDP checks them, and those of this module are
            # strings.
            wrapped.register_comm_hook(None, lambda _, bucket: _average_as_bfloat16(bucket))
        settle_buckets(wrapped, example)
        return wrapped

    def count_gradients(self, network: nn.Module, *, compress: bool = False) -> None:
        """Add to the traffic what DDP exchanges in an update of ``network``."""
        if self.size > 1:
            numbers = [p for p in network.parameters() if p.requires_grad]
            width = 2 if compress else numbers[0].element_size()
            TRAFFIC.bytes += width * sum(p.numel() for p in numbers)

    @property
    def bytes_sent(self) -> int:
        """Bytes that this process has passed to collective operations."""
        return TRAFFIC.bytes

    def average_buffers(self, network: nn.Module) -> None:
        """Give every rank the mean of all ranks' batch statistics, in place."""
        for buffer in network.buffers():
            if self.size > 1 and buffer.is_floating_point():
                self.mean(buffer)

    def whole(self, batch: int) -> Callable[[Tensor], Tensor]:
        """A function that gathers values of samples: this rank's (n, ...) -> all ranks'
        (batch, ...).

        See `distgan.parallel.collectives.whole_batch` for the gradient.
        """
        if self.size == 1:
            return lambda values: values
        parts = [replace(self, rank=rank).share(batch) for rank in range(self.size)]
        sizes = tuple(part.stop - part.start for part in parts)
        return lambda values: whole_batch(values, sizes, self.rank)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of a tensor over ranks, in place."""
        if self.size > 1 and values.device.type == "cpu":
            dist.all_reduce(TRAFFIC.count(values))
            return values
        return all_reduce(values) if self.size > 1 else values

    def mean(self, values: Tensor) -> Tensor:
        """The average of a tensor over ranks, in place."""
        return self.sum(values).div_(self.size)

    def gather(self, value: Any) -> list[Any]:
        """One picklable object from each rank, in rank order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def table(self, values: Tensor) -> Tensor:
        """The equally shaped small tensors of all ranks, on the CPU: (ranks, *shape)."""
        if self.size == 1:
            return values[None]
        rows = list(values.new_empty((self.size, *values.shape)))
        dist.all_gather(rows, values)
        return torch.stack(rows)

    def broadcast(self, value: Tensor) -> Tensor:
        """Rank 0's value of a small tensor on the CPU, in place, on every rank."""
        if self.size > 1:
            dist.broadcast(value, src=0)
        return value

    def describe(self) -> dict[str, str]:
        """Machine and device of this rank; see `distgan.parallel.devices.describe`."""
        return describe(self.device)

    def meet(self) -> None:
        """Wait for the others with patience, where one of them may be held up by storage."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(()))


def _average_as_bfloat16(bucket: Any) -> torch.futures.Future[Tensor]:
    # gloo refuses torch's bf16_compress_hook. Dividing before the sum avoids overflow.
    gradients: Tensor = bucket.buffer()
    sent = gradients.div(dist.get_world_size()).bfloat16()
    work = dist.all_reduce(sent, group=GROUPS.gradients, async_op=True)
    assert work is not None
    restored: torch.futures.Future[Tensor] = work.get_future().then(lambda _: gradients.copy_(sent))
    return restored
