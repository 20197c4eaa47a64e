"""What collective operations take, from the bandwidth and latency of the links."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """``bandwidth`` in bytes a second each way, ``latency`` in seconds a message."""

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Network:
    """The links between the workers of a node, and between nodes.

    Args:
        across: of a whole node, which its workers share.
        busy: the share of a collective's time for which it takes a worker's processor from
            computing: 0 where the network card or the GPU's copy engines do it alone.
        tree: whether messages across nodes follow trees, as NCCL's do where that is faster,
            rather than a ring.
    """

    inside: Link
    across: Link
    busy: float = 0.0
    tree: bool = False

    def all_reduce(self, size: float, workers: int, nodes: int = 1) -> float:
        """Seconds to give every worker the sum of ``size`` bytes of each.

        A ring sends 2 (n - 1) / n of them over each link in 2 (n - 1) messages, the fewest
        bytes possible (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for
        clusters of workstations", 2009). On several nodes one runs inside each, which leaves
        every worker with its part of the sum, and one across, over these parts.
        """
        return self._exchange(size, workers, nodes, 2)

    def all_gather(self, size: float, workers: int, nodes: int = 1) -> float:
        """Seconds to give every worker the ``size`` bytes of each other: half an all-reduce
        of the ``workers`` times as many that it ends with."""
        return self._exchange(size * workers, workers, nodes, 1)

    def _exchange(self, size: float, workers: int, nodes: int, rounds: int) -> float:
        local = workers // nodes
        seconds = rounds * _round(self.inside, size, local, local - 1)
        hops = nodes - 1
        if self.tree and nodes > 1:
            hops = min(hops, math.ceil(math.log2(nodes)))
        return seconds + rounds * _round(self.across, size, nodes, hops)


def _round(link: Link, size: float, members: int, hops: int) -> float:
    return (members - 1) / members * size / link.bandwidth + hops * link.latency


def ring_bytes(size: float, workers: int) -> float:
    """What each worker of a ring sends to all-reduce ``size`` bytes."""
    return 2 * (workers - 1) / workers * size
