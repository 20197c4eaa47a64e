"""One update of a network on a worker: computing, while gradients travel beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Exchange:
    """A collective operation that begins ``at`` seconds of computing, and takes ``seconds``.

    ``blocking`` ones hold the computing up, as synchronised batch statistics do; others, a
    bucket of gradients, run beside it.
    """

    at: float
    seconds: float
    blocking: bool = False


@dataclass(frozen=True)
class Elapsed:
    """Seconds until an update's gradients are all there, and what held it up.

    ``exposed`` is waiting for gradients after all was computed, ``blocked`` waiting for what
    blocks, ``slowed`` what collectives took from the processor. With the computing they are
    ``total``.
    """

    total: float
    exposed: float
    blocked: float
    slowed: float


def play(computing: float, exchanges: Sequence[Exchange], busy: float = 0.0) -> Elapsed:
    """Go through an update; exchanges go one after another, as on one stream or connection.

    Args:
        computing: seconds without any exchange.
        exchanges: in the order in which they begin.
        busy: the share of the processor that an exchange beside computing takes, below 1.
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
    # Do `work` seconds of computing from `now`, slowed until the exchanges are through at
    # `free`: when that ends, and how much later than it would have.
    beside = max(0.0, free - now)
    slow = min(work, beside * (1 - busy))
    lost = slow / (1 - busy) - slow
    return now + work + lost, lost
