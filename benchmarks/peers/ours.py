"""distgan's step, with what its workers set for their process."""

from __future__ import annotations

import shutil

import torch

from benchmarks.gans import gan_batch
from benchmarks.peers.contest import Contender, Task, of_torch
from benchmarks.peers.pair import Pair, is_second
from benchmarks.turns import Unavailable
from distgan.config.settings import override
from distgan.families import Batch, DataSpec
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.training.state import TrainingState


def build(task: Task, rule: str, compiled: str = "off") -> Contender:
    """See `benchmarks.peers.contest`."""
    if compiled != "off" and shutil.which("c++") is None:
        raise Unavailable("there is no C++ compiler")
    keep_freed_memory()
    pair = Pair("ours", task) if rule == "ranks" else None
    torch.set_num_threads(max(1, task.threads // 2) if pair else task.threads)
    world = World(int(is_second()), 2) if pair else World()
    changes = {"share_fakes": rule != "fresh", "parallel.sync_batch_norm": False}
    config = override(task.config, {**changes, "compile": compiled})
    state = TrainingState(config, DataSpec.numbered(task.workload.image, 0), world)
    turn = task.turn(lambda batch: _share(batch, world))

    def work() -> int:
        if pair is not None:
            pair.start()
        phases = state.family.phases(state.images_seen)
        state.statistics.add(state.training_step().run(phases, [next(turn)]))
        return task.workload.batch

    networks = state.networks["generator"].network, state.networks["discriminator"].network
    return Contender(work, lambda: (of_torch(networks[0]), of_torch(networks[1])))


def _share(batch: Batch, world: World) -> Batch:
    images = batch.columns["image"]
    part = world.share(len(images))
    real = images[part].contiguous(memory_format=torch.channels_last)
    return gan_batch(real, **{role: latent[part] for role, latent in batch.draws.items()})
