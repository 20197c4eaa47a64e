"""Two processes of one thread against one, each with the same batch: what communication costs.

Three sides take turns: one process; two that do not talk to each other, which shows what the
machine itself loses; two ranks of a run, with gradients averaged over gloo. Efficiency is the
images per second of both over twice those of one.

    python -m benchmarks.scaling
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.throughput import WORKLOADS, _batches
from distgan.allocator import keep_freed_memory
from distgan.parallel import World
from distgan.settings import override
from distgan.state import TrainingState
from distgan.step import adversarial_step


class Team:
    """Processes that do the same number of steps at the same time."""

    def __init__(self, name: str, size: int, meet: Path | None) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes = []
        for rank in range(size):
            ours, theirs = context.Pipe()
            member = context.Process(
                target=_member, args=(theirs, name, rank, size, meet), daemon=True
            )
            member.start()
            self._pipes.append(ours)
        self.batch = WORKLOADS[name].batch * size
        self.bytes_per_image = 0.0
        self.turn(2)

    def turn(self, steps: int) -> float:
        """Images per second of all members together."""
        for pipe in self._pipes:
            pipe.send(steps)
        answers = [pipe.recv() for pipe in self._pipes]
        self.bytes_per_image = answers[0][1] / (steps * self.batch)
        return steps * self.batch / max(seconds for seconds, _ in answers)


def _member(pipe: Connection, name: str, rank: int, size: int, meet: Path | None) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    keep_freed_memory()
    torch.set_num_threads(1)
    world = World()
    if meet is not None:
        dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=size)
        world = World(rank, size)
    workload = WORKLOADS[name]
    config = override(workload.config, {"batch": workload.batch * world.size})
    state, batches = TrainingState(config, workload.image, 0, world), _batches(workload, config)
    while True:
        steps, sent, start = pipe.recv(), world.bytes_sent, time.perf_counter()
        for step in range(steps):
            batch = batches[step % len(batches)]
            adversarial_step(state.generator, state.discriminator, state.rule, [batch])
            for player in (state.generator, state.discriminator):
                world.count_gradients(player.network)
        pipe.send((time.perf_counter() - start, world.bytes_sent - sent))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="[all]")
    parser.add_argument("--turns", type=int, default=7, help="turns of each side [7]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a turn [4]")
    options = parser.parse_args()
    print("      one img/s   two apart   two ranks   bytes/image   over two apart")
    for name in options.workload or WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            teams = {
                "one": Team(name, 1, None),
                "apart": Team(name, 2, None),
                "ranks": Team(name, 2, Path(folder) / "meet"),
            }
            pace = {side: team.turn(3) / team.batch for side, team in teams.items()}
            found: dict[str, list[float]] = {side: [] for side in teams}
            for _ in range(options.turns):
                for side, team in teams.items():
                    found[side].append(team.turn(max(1, round(pace[side] * options.seconds))))
        one, apart, ranks = (statistics.median(found[side]) for side in teams)
        pairs = [r / a for r, a in zip(found["ranks"], found["apart"], strict=True)]
        print(
            f"{name}  {one:10,.1f}  {apart:6,.1f} {apart / one / 2:4.0%}  "
            f"{ranks:6,.1f} {ranks / one / 2:4.0%}  {teams['ranks'].bytes_per_image:12,.0f}   "
            f"{statistics.median(pairs):14.0%}",
            flush=True,
        )
        for process in multiprocessing.active_children():
            process.terminate()


if __name__ == "__main__":
    main()
