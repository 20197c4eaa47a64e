"""Shards made by Ray tasks, on as many cores as there are."""

from __future__ import annotations

from collections.abc import Generator

import ray

from distgan.data.shards import Job, Made
from distgan.data.work import Work
from distgan.errors import UserError, first_line
from distgan.launch.ray.address import check_address
from distgan.launch.ray.cluster import Cluster, StartStoppedError
from distgan.launch.signals import StopRequest

_SECONDS_BETWEEN_LOOKS = 0.1


def make_shards_on_ray(
    jobs: list[Job],
    work: Work,
    workers: int | None,
    address: str | None,
    stop: StopRequest,
) -> Generator[tuple[int, Made], None, None]:
    """Make every shard, each in a task of its own, on one core.

    Args:
        workers: tasks at a time; None for one on each core of the cluster.
        address: of the cluster; None starts one here, which ends with the last shard.
        stop: is listening already.

    Yields:
        the number of a job and what became of it, in the order in which they end.

    Raises:
        UserError: when no cluster answers, or for a bad image.
        KeyboardInterrupt, SystemExit: when ``stop`` was asked for.
    """
    if address is not None:
        check_address(address)
    # A cluster of our own would start a process for every one asked for.
    workers = workers and min(workers, len(jobs))
    try:
        with Cluster(address, workers, verbose=False, stop=stop) as cluster:
            # Tasks that run still write what is to be removed.
            cluster.end_in_order()
            yield from _shards(jobs, work, workers, stop)
    except StartStoppedError:
        stop.leave()


def _shards(
    jobs: list[Job], work: Work, workers: int | None, stop: StopRequest
) -> Generator[tuple[int, Made], None, None]:
    shared = ray.put(work)
    waiting = list(enumerate(jobs))[::-1]
    running: dict[ray.ObjectRef, int] = {}
    while waiting or running:
        # Tasks that find no room have the cluster start more machines, where it can.
        at_once = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        while waiting and len(running) < at_once:
            number, job = waiting.pop()
            running[_make.remote(job, shared)] = number
        found, _ = ray.wait(list(running), num_returns=1, timeout=_SECONDS_BETWEEN_LOOKS)
        if stop.name:
            raise StartStoppedError
        if not found:
            continue
        (ready,) = found
        number = running.pop(ready)
        try:
            outcome = ray.get(ready)
        except ray.exceptions.RayError as error:
            reason = first_line(error)
            raise UserError(
                f"{jobs[number].name}: its task failed ({reason}); try fewer --workers"
            ) from None
        if isinstance(outcome, str):
            raise UserError(outcome)
        yield number, outcome


@ray.remote(num_cpus=1)  # type: ignore[untyped-decorator]
def _make(job: Job, work: Work) -> Made | str:
    try:
        return work.make(job)
    except UserError as error:
        # Raised, it would come back wrapped in Ray's own account of where.
        return str(error)
