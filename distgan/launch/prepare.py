"""Preparing a set of images or clips, in this process or by tasks on Ray."""

from __future__ import annotations

from collections.abc import Callable, Generator

from distgan.data import prepare as preparing
from distgan.data import two_sets
from distgan.data.manifest import Manifest
from distgan.data.prepare import PrepareSettings, Progress, Tasks
from distgan.data.shards import Job, Made
from distgan.data.work import Work
from distgan.errors import UserError
from distgan.launch.ray.address import cluster_address
from distgan.launch.ray.environment import prepare_own_cluster
from distgan.launch.signals import StopRequest
from distgan.launch.surroundings import restored


def prepare(
    source: str,
    out: str,
    options: PrepareSettings | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], object] = lambda text: None,
    stop: StopRequest | None = None,
) -> Manifest:
    """Turn a source into Parquet shards and a manifest.

    The same source and options always give the same bytes, with any number of workers. If it
    fails, nothing is left in ``out``.

    Args:
        source: a file or folder of any kind in `distgan.data.sources`, a name in
            `distgan.data.sources.named`, which is downloaded, or one that `distgan.data.sources`
            makes.
        out: path or URI of the folder to write to.
        workers: number of concurrent tasks, by default one per core; 0 uses this process only,
            without Ray, as does a set of a single shard.
        address: of a Ray cluster whose nodes all see ``source`` and ``out``; by default
            RAY_ADDRESS, else Ray is started on this machine.
        progress: called with the progress.
        note: takes lines about how the source was read, and what in it was not used.
        stop: what asks tasks on Ray to stop; None listens to Ctrl-C and SIGTERM.

    Raises:
        KeyboardInterrupt, SystemExit: when a stop was asked for; nothing is kept then.
        UserError: when the source cannot be used, or ``out`` already holds a set.
        ValueError: for unpaired images, which `prepare_sides` is for.
    """
    tasks = _tasks(workers, address, stop)
    return preparing.prepare(source, out, options, tasks=tasks, progress=progress, note=note)


def prepare_sides(
    source: str,
    out: str,
    options: PrepareSettings,
    *,
    workers: int | None = None,
    address: str | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], object] = lambda text: None,
    stop: StopRequest | None = None,
) -> dict[str, Manifest]:
    """Make two sets, ``out/A`` and ``out/B``, of a source of two domains.

    The arguments are those of `prepare`; ``options.pairs`` are unpaired.

    Returns:
        the manifests, by side.

    Raises:
        KeyboardInterrupt, SystemExit: when a stop was asked for; nothing is kept then.
        UserError: when the source cannot be used, or there are sets already.
    """
    tasks = _tasks(workers, address, stop)
    return two_sets.prepare_sides(source, out, options, tasks=tasks, progress=progress, note=note)


def _tasks(workers: int | None, address: str | None, stop: StopRequest | None) -> Tasks | None:
    if workers is not None and workers < 0:
        raise UserError(f"--workers {workers}: should be 0 or more")

    def on_ray(jobs: list[Job], work: Work) -> Generator[tuple[int, Made], None, None]:
        where, ends = cluster_address(address), stop or StopRequest()
        with restored(unless=ends.ends), ends:
            if where is None:
                prepare_own_cluster()
            from distgan.launch.ray.prepare import make_shards_on_ray

            yield from make_shards_on_ray(jobs, work, workers, where, ends)

    return None if workers == 0 else on_ray
