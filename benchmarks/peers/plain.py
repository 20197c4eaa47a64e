"""Plain PyTorch: the textbook loop."""

from __future__ import annotations

import torch
from torch import nn

from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.textbook import Textbook


def build(task: Task, rule: str) -> Contender:
    """See `benchmarks.peers.contest`."""
    torch.set_num_threads(task.threads)
    generator, discriminator = task.networks()
    loop = Textbook(generator, discriminator)
    turn = task.turn(lambda batch: batch)

    def work() -> int:
        batch = next(turn)
        second = batch.draws["discriminator"] if rule == "fresh" else None
        loop.step(batch.columns["image"], batch.draws["generator"], second)
        return task.workload.batch

    def fill(network: nn.Module) -> None:
        network.load_state_dict(generator.state_dict())

    return Contender(work, lambda: (of_torch(generator), of_torch(discriminator)), fill)
