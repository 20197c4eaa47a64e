"""Whether all ranks still have the same networks, looked at once a record.

Every rank applies the same update to the same weights, and nothing would tell of one whose copy
drifts: a machine with bad memory, another kind of GPU that rounds otherwise, a rank that some code
treats differently. What is saved and measured is then rank 0's, trained by gradients at other
weights.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from distgan.parallel import World

KIND = "replicas differ"
"""Of the event."""


class Replicas:
    """Compares the networks of all ranks; all ranks must call its methods alike.

    Args:
        networks: by the name by which one that differs is told.
        buffers: whether buffers are to be equal too, which batch statistics that each rank takes
            for itself are not.
    """

    def __init__(self, networks: dict[str, nn.Module], world: World, *, buffers: bool) -> None:
        self._networks, self._world, self._buffers = networks, world, buffers
        self._told: dict[int, list[str]] = {}

    def sums(self) -> Tensor:
        """This rank's checksums, int64 (networks,) on its device; does not wait for the device.

        Empty where there is no other rank to be compared with.
        """
        if self._world.size == 1:
            return torch.zeros(0, dtype=torch.int64)
        return torch.stack([checksum(self._tensors(net)) for net in self._networks.values()])

    def _tensors(self, network: nn.Module) -> list[Tensor]:
        buffers = network.buffers() if self._buffers else ()
        return [*network.parameters(), *buffers]

    def compare(self, sums: Tensor) -> str:
        """A line on the ranks that differ, once each time that others do; else empty.

        Args:
            sums: of `sums`, after something else has waited for the device.
        """
        if self._world.size == 1:
            return ""
        everybody = self._world.table(sums.cpu())
        odd = differing(everybody.tolist(), list(self._networks))
        if odd == self._told:
            return ""
        self._told = odd
        machines = self._world.gather(platform.node())
        return describe(odd, machines) if odd else "all workers have the same networks again"


@torch.no_grad()
def checksum(tensors: Iterable[Tensor]) -> Tensor:
    """The sum of all bits, taken as integers modulo 2^64: int64, on the tensors' device.

    Unlike a norm it depends neither on the order of the sum nor on the device.
    """
    total: Tensor | None = None
    for tensor in tensors:
        part = tensor.detach()
        if part.is_floating_point():
            part = part.view(_AS_INTEGERS[part.element_size()])
        summed = part.sum(dtype=torch.int64)
        total = summed if total is None else total + summed
    return torch.zeros((), dtype=torch.int64) if total is None else total


_AS_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def differing(sums: Sequence[Sequence[int]], names: Sequence[str]) -> dict[int, list[str]]:
    """By rank, the networks in which it differs from most; from rank 0 where there is no most.

    Args:
        sums: of each rank, for each name.
    """
    found: dict[int, list[str]] = {}
    for name, values in zip(names, zip(*sums, strict=True), strict=True):
        # The first of those that are alike often: the order in which they were met.
        usual, _ = Counter(values).most_common(1)[0]
        for rank, value in enumerate(values):
            if value != usual:
                found.setdefault(rank, []).append(name)
    return dict(sorted(found.items()))


def describe(odd: dict[int, list[str]], machines: Sequence[str]) -> str:
    """The line for the user.

    Args:
        machines: of each rank.
    """
    parts = [
        f"worker {rank} on {machines[rank]} has another {' and '.join(names)}"
        for rank, names in odd.items()
    ]
    several = "the others" if len(machines) > 2 else "worker 0"
    return (
        f"{'; '.join(parts)} than {several}; see whether its machine has the same GPU and torch, "
        "and whether its memory is sound, then stop and --resume the run: all workers go on from "
        "worker 0's checkpoint, so where worker 0 is named, from one before"
    )
