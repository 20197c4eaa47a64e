"""Process groups, each with its own limit of time.

Torch's default group takes what lies in the CPU's memory: objects, agreements, and waiting for
rank 0's storage. It is patient. With GPUs it speaks gloo for that, so that nothing small waits for
the GPU (``cpu:gloo,cuda:nccl``). What a step exchanges goes through groups with a short limit,
after which a rank that no longer takes part is noticed. By NCCL the batch statistics and other
small sums have one of their own, on a stream of high priority: in the gradients' they would queue
behind whole buckets.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

SECONDS_OF_A_WAIT = 3600
"""Of the default group: longer than any storage may take."""
SECONDS_OF_A_STEP = 180
"""Of what a step exchanges; longer than the data may be waited for."""


class Groups:
    """The groups of a step; None is torch's default one.

    Attributes:
        gradients: of `torch.nn.parallel.DistributedDataParallel`.
        statistics: of batch statistics, and of losses that compare whole batches.
    """

    def __init__(self) -> None:
        self.gradients: dist.ProcessGroup | None = None
        self.statistics: dist.ProcessGroup | None = None

    def separate(self, device: torch.device) -> None:
        """Make them, for ranks that train on such a device; all ranks must call it."""
        limit = timedelta(seconds=SECONDS_OF_A_STEP)
        if device.type != "cuda":
            self.gradients = self.statistics = dist.new_group(timeout=limit, backend="gloo")
            return
        self.gradients = dist.new_group(timeout=limit, backend="nccl")
        self.statistics = dist.new_group(timeout=limit, backend="nccl", pg_options=_at_once())

    def forget(self) -> None:
        """Go back to the default group, where the process leaves it."""
        self.gradients = self.statistics = None


def _at_once() -> Any:
    options: Any = dist.ProcessGroupNCCL.Options()
    options.is_high_priority_stream = True
    return options


GROUPS = Groups()
"""Of this process."""
