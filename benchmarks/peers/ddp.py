"""torch's DistributedDataParallel around both networks of the textbook loop, over gloo."""

from __future__ import annotations

import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.peers.pair import Pair, is_second
from benchmarks.textbook import Textbook


def build(task: Task) -> Contender:
    """See `benchmarks.peers.contest`."""
    pair = Pair("ddp", task)
    torch.set_num_threads(max(1, task.threads // 2))
    networks = task.networks()
    generator, discriminator = (DistributedDataParallel(network) for network in networks)
    loop = Textbook(generator, discriminator)
    half = task.workload.batch // 2
    mine = slice(half, None) if is_second() else slice(half)
    turn = task.turn(lambda batch: (batch.columns["image"][mine], batch.draws["generator"][mine]))

    def work() -> int:
        pair.start()
        loop.step(*next(turn))
        return task.workload.batch

    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))
