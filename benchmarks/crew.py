"""Processes of one thread that train together, or each for itself, when asked."""

from __future__ import annotations

import multiprocessing
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks import wire
from distgan.config.run import RunConfig
from distgan.families import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.plan.measure import Cycles

DATA = DataSpec.numbered(ImageShape(1, 28, 28), 10)


@dataclass(frozen=True)
class Cast:
    """Who takes part.

    Args:
        ranks: of the run each process is part of. 1: a process for itself.
        meet: a file through which ranks find each other. Without one, each process computes
            what one of ``ranks`` does, and has nobody to talk to.
        namespaces: of each process; empty for this one's.
    """

    config: RunConfig
    count: int
    ranks: int
    meet: Path | None = None
    namespaces: tuple[str, ...] = ()


class Crew:
    """Processes that do the same at the same time."""

    def __init__(self, cast: Cast) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._members = []
        for rank in range(cast.count):
            ours, theirs = context.Pipe()
            member = context.Process(target=_serve, args=(theirs, cast, rank), daemon=True)
            member.start()
            self._pipes.append(ours)
            self._members.append(member)
        self._ask("ready")

    def _ask(self, what: str, *arguments: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send((what, arguments))
        return [pipe.recv() for pipe in self._pipes]

    def cycles(self, images: int, seconds: float) -> list[list[float]]:
        """Seconds of cycles with ``images`` of each batch in a process, by the process: as many
        as take about so long."""
        first = max(max(times) for times in self._ask("cycles", images, 2))
        count = max(3, min(1000, round(seconds / first)))
        found: list[list[float]] = self._ask("cycles", images, count)
        return found

    def all_reduce(self, size: int, count: int) -> tuple[list[float], float]:
        """Seconds of each of so many all-reduces of ``size`` bytes, and what share of them the
        processes were computing."""
        answers = self._ask("all_reduce", size, count)
        return answers[0][0], sum(busy for _, busy in answers) / len(answers)

    def all_gather(self, size: int, count: int) -> list[float]:
        """Seconds of each of so many."""
        found: list[float] = self._ask("all_gather", size, count)[0]
        return found

    def after(self) -> float:
        """Seconds of a cycle once gradients have arrived."""
        return float(max(self._ask("after")))

    def end(self) -> None:
        """End the processes."""
        for member in self._members:
            member.kill()
            member.join()


def _serve(pipe: Connection, cast: Cast, rank: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = wire.DEVICE if cast.namespaces else "lo"
    if cast.namespaces:
        wire.enter(cast.namespaces[rank])
    keep_freed_memory()
    torch.set_num_threads(1)
    member = _Member(cast, rank)
    while True:
        what, arguments = pipe.recv()
        pipe.send(getattr(member, what)(*arguments))


class _Member:
    def __init__(self, cast: Cast, rank: int) -> None:
        world = World()
        if cast.meet is not None:
            world = World(rank, cast.ranks)
            where = f"file://{cast.meet}"
            dist.init_process_group("gloo", init_method=where, rank=rank, world_size=cast.ranks)
        elif cast.ranks > 1:
            # Wrapped and synchronised as one of several, in a group that has no others.
            world = World(0, cast.ranks)
            dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        self._cycles = Cycles(cast.config, DATA, world)

    def ready(self) -> bool:
        return True

    def cycles(self, images: int, count: int) -> list[float]:
        return [self._cycles.seconds(images) for _ in range(count)]

    def after(self) -> float:
        return self._cycles.after()

    def all_reduce(self, size: int, count: int) -> tuple[list[float], float]:
        values = torch.zeros(size // 4)
        start, computing = time.perf_counter(), time.process_time()
        times = _times(lambda: dist.all_reduce(values), count)
        wall = time.perf_counter() - start
        return times, min(1.0, (time.process_time() - computing) / wall)

    def all_gather(self, size: int, count: int) -> list[float]:
        values = torch.zeros(size // 4)
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        return _times(lambda: dist.all_gather(parts, values), count)


def _times(work: Any, count: int) -> list[float]:
    found = []
    for _ in range(count):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found
