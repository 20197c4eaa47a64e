"""The model: what a cycle of updates takes on many workers, term by term."""

from __future__ import annotations

from dataclasses import dataclass

from distgan.plan.compute import Compute, expected_maximum
from distgan.plan.network import Network, ring_bytes
from distgan.plan.timeline import Exchange, play
from distgan.plan.work import Message, Update, Work

TERMS = ("images", "fixed", "slowed", "exposed", "synchronised", "stragglers")
"""What a cycle's seconds are divided into: see `Prediction`."""


@dataclass(frozen=True)
class Prediction:
    """Expected of a cycle on all workers together.

    The terms are seconds of a cycle, and add up to ``seconds``: ``images`` is computing that
    grows with a worker's share of the batch, ``fixed`` the rest of it, ``slowed`` what
    exchanges take from the processor, ``exposed`` waiting for gradients, ``synchronised``
    waiting for batch statistics and other values of the whole batch, ``stragglers`` waiting
    for the slowest worker.

    ``efficiency`` is ``images_per_second`` over ``workers`` times those of one worker on the
    same global batch. ``sent`` is bytes each worker sends.
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
    """What to expect of ``workers`` workers, in equal parts on ``nodes`` nodes.

    Args:
        batch: real images of a global batch.
    """
    share = -(-batch // workers)  # Of the worker that has most.
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
            # The updates of a cycle vary independently, and all wait at the end of each.
            terms["stragglers"] += spread * cycle * part**0.5
            sent += sum(_sent(message, workers) for message in update.messages)
    seconds = sum(terms.values())
    rate = work.batches * batch / seconds
    alone = work.batches * batch / compute.seconds(batch)
    return Prediction(workers, rate, rate / workers / alone, seconds, terms, sent)


def _afterwards(update: Update, work: Work, compute: Compute) -> float:
    # Of the optimizers' time, by the number of parameters.
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
