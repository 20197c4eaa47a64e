"""The model: what a cycle of updates takes on many workers, term by term.

From the bottom up: the links and the collective operations over them, what computing takes,
how one update overlaps the two, and the prediction for a whole cycle.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from distgan.plan.work import Message, Update, Work


@dataclass(frozen=True)
class Link:
    """A link: ``bandwidth`` in bytes a second each way, ``latency`` in seconds a message."""

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Network:
    """The links between the workers of a node, and between nodes.

    Args:
        inside: between the workers of a node.
        across: between nodes; shared by the workers of a node.
        busy: the share of a collective's time in which it occupies a worker's processor: 0 where
            the network card or the GPU's copy engines do all of it.
        tree: whether messages between nodes follow trees where that is faster, as in NCCL, rather
            than a ring.
    """

    inside: Link
    across: Link
    busy: float = 0.0
    tree: bool = False

    def all_reduce(self, size: float, workers: int, nodes: int = 1) -> float:
        """Seconds to give every worker the sum of ``size`` bytes of each.

        A ring sends 2 (n - 1) / n of them over each link in 2 (n - 1) messages, the minimum of
        bytes (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
        workstations", 2009). On several nodes there is a ring inside each node, which leaves
        every worker with a part of the sum, and one across nodes for each part.
        """
        return self._exchange(size, workers, nodes, 2)

    def all_gather(self, size: float, workers: int, nodes: int = 1) -> float:
        """Seconds to give every worker the ``size`` bytes of each: half the time of an all-reduce
        of ``workers * size`` bytes."""
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
    """Bytes that each worker of a ring sends to all-reduce ``size`` bytes."""
    return 2 * (workers - 1) / workers * size


@dataclass(frozen=True)
class Compute:
    """Seconds of one cycle, all of the discriminator's updates and the generator's, on one worker.

    Args:
        fixed: independent of the batch: optimizers, averaging, launching kernels.
        per_image: added for each image of the worker's share of a batch.
        floor: lower bound of a cycle, such as launching kernels one by one on a GPU.
        after: the part of these seconds that begins once gradients have arrived.
        deviation: standard deviation between repetitions of a cycle, as a share of its seconds.
    """

    fixed: float
    per_image: float
    floor: float = 0.0
    after: float = 0.0
    deviation: float = 0.0

    def seconds(self, images: float) -> float:
        """Of a cycle in which the worker's share of a batch is ``images`` images."""
        return max(self.floor, self.fixed + self.per_image * images)


@functools.cache
def expected_maximum(count: int) -> float:
    """Of the maximum of ``count`` standard normal numbers: the integral of x d(Phi(x)^n)."""
    if count == 1:
        return 0.0
    # Integrated by parts, with P = Phi^n: the integral of 1 - P over x > 0 minus that of P over
    # x < 0.
    step, reach = 1 / 256, 10
    points = [(i + 0.5) * step for i in range(reach * 256)]
    above = sum(-math.expm1(count * math.log1p(-_upper(x))) for x in points)
    below = sum(_upper(x) ** count for x in points)
    return step * (above - below)


def _upper(x: float) -> float:
    # P(X > x) of a standard normal X, without cancellation where it is small.
    return math.erfc(x / math.sqrt(2)) / 2


@dataclass(frozen=True)
class Exchange:
    """A collective operation that begins ``at`` seconds of computing, and takes ``seconds``.

    Computing waits for ``blocking`` ones, such as synchronised batch statistics; others, such as
    a bucket of gradients, overlap with it.
    """

    at: float
    seconds: float
    blocking: bool = False


@dataclass(frozen=True)
class Elapsed:
    """Seconds until all gradients of an update have arrived, and the parts that are not computing.

    ``exposed`` is waiting for gradients after the end of computing, ``blocked`` waiting for
    blocking exchanges, ``slowed`` processor time that collectives took. Together with the
    computing they add up to ``total``.
    """

    total: float
    exposed: float
    blocked: float
    slowed: float


def play(computing: float, exchanges: Sequence[Exchange], busy: float = 0.0) -> Elapsed:
    """Simulate an update; exchanges run one after another, as on one stream or connection.

    Args:
        computing: seconds without any exchange.
        exchanges: in the order in which they begin.
        busy: the share of the processor that an overlapping exchange takes, below 1.
    """
    now = done = free = blocked = slowed = 0.0
    for exchange in exchanges:
        now, lost = _compute(now, exchange.at - done, free, busy)
        done, slowed = exchange.at, slowed + lost
        free = max(now, free) + exchange.seconds
        if exchange.blocking:
            blocked += free - now
            now = free
    now, lost = _compute(now, computing - done, free, busy)
    total = max(now, free)
    return Elapsed(total, total - now, blocked, slowed + lost)


def _compute(now: float, work: float, free: float, busy: float) -> tuple[float, float]:
    # Computes `work` seconds from `now`, slowed while exchanges run until `free`. Returns when
    # that ends, and by how much it was delayed.
    beside = max(0.0, free - now)
    slow = min(work, beside * (1 - busy))
    lost = slow / (1 - busy) - slow
    return now + work + lost, lost


TERMS = ("images", "fixed", "slowed", "exposed", "synchronised", "stragglers")
"""The terms that add up to a cycle's seconds: see `Prediction`."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for a cycle on all workers.

    The terms are seconds of a cycle, and add up to ``seconds``: ``images`` is the computing that
    is proportional to a worker's share of the batch, ``fixed`` the rest of it, ``slowed`` the
    processor time that exchanges take, ``exposed`` waiting for gradients, ``synchronised``
    waiting for batch statistics and other values of the whole batch, ``stragglers`` waiting for
    the slowest worker.

    ``efficiency`` is ``images_per_second`` divided by ``workers`` times those of one worker on
    the same global batch. ``sent`` is the number of bytes that each worker sends.
    """

    workers: int
    images_per_second: float
    efficiency: float
    seconds: float
    terms: dict[str, float]
    sent: float


def predict(
    work: Work, compute: Compute, network: Network, batch: int, workers: int, nodes: int = 1
) -> Prediction:
    """Predict a cycle on ``workers`` workers, divided equally among ``nodes`` nodes.

    Args:
        batch: real images of a global batch.
    """
    share = -(-batch // workers)  # Of the worker with the largest share.
    cycle = compute.seconds(share)
    images = min(cycle, compute.per_image * share)
    terms = dict.fromkeys(TERMS, 0.0)
    terms |= {"images": images, "fixed": cycle - images}
    sent = 0.0
    if workers > 1:
        spread = compute.deviation * expected_maximum(workers)
        for update in work.updates:
            part = update.flops(share) / work.flops(share)
            computing = part * cycle - _afterwards(update, work, compute)
            exchanges = [
                Exchange(
                    message.at * computing,
                    _seconds(message, network, workers, nodes),
                    message.kind != "gradients",
                )
                for message in update.messages
            ]
            elapsed = play(computing, exchanges, network.busy)
            terms["slowed"] += elapsed.slowed
            terms["exposed"] += elapsed.exposed
            terms["synchronised"] += elapsed.blocked
            # Workers wait for each other at the end of every update, whose times are independent.
            terms["stragglers"] += spread * cycle * part**0.5
            sent += sum(_sent(message, workers) for message in update.messages)
    seconds = sum(terms.values())
    rate = work.batches * batch / seconds
    alone = work.batches * batch / compute.seconds(batch)
    return Prediction(workers, rate, rate / workers / alone, seconds, terms, sent)


def _afterwards(update: Update, work: Work, compute: Compute) -> float:
    # The optimizers' time is divided among updates by the number of parameters.
    return compute.after * update.parameters / work.updated


def _seconds(message: Message, network: Network, workers: int, nodes: int) -> float:
    if message.kind == "gather":
        return network.all_gather(message.size, workers, nodes)
    if message.kind == "whole":
        return network.all_gather(message.size / workers, workers, nodes)
    return network.all_reduce(message.size, workers, nodes)


def _sent(message: Message, workers: int) -> float:
    if message.kind in ("gather", "whole"):
        size = message.size / (workers if message.kind == "whole" else 1)
        return (workers - 1) * size
    return ring_bytes(message.size, workers)
