"""Training on a Ray cluster: find or start one, feed it, run the loop on its workers."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer

from distgan.allocator import keep_freed_memory
from distgan.config import Config
from distgan.data.damage import Damage
from distgan.data.feed import Rows
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels
from distgan.data.ray_reader import read_on_ray, read_resident_on_ray
from distgan.data.rows import open_rows
from distgan.errors import UserError
from distgan.launch.cluster import Cluster
from distgan.launch.gauges import Gauges
from distgan.launch.mailbox import Mailbox, MailboxControl
from distgan.launch.priority import give_way
from distgan.launch.signals import StopRequest
from distgan.launch.start import Display, Plan
from distgan.launch.workers import Workers
from distgan.loop import Control, NoControl, Outcome, Status, train
from distgan.parallel import World
from distgan.storage import Storage

_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know; travels to it by pickle."""

    config: Config
    out: str
    images: ImageSet
    resident: Any
    mailbox: str
    threads: int
    verbose: bool


def run_on_ray(plan: Plan, display: Display, stop: StopRequest, cluster: Cluster) -> Outcome:
    """Train on the workers of a cluster and show what they report.

    Raises:
        UserError: when the cluster cannot be reached or is too small, or a worker met a
            mistake that the user can mend.
    """
    with cluster:
        stop.install()
        workers = cluster.workers(plan.device, plan.config.batch)
        display.note(workers.describe())
        resident = None
        if plan.config.feed.way == "resident":
            replace = plan.config.feed.skip_bad > 0
            resident = read_resident_on_ray(plan.images, replace, plan.verbose)
        mailbox = Mailbox(uuid.uuid4().hex)
        out = plan.storage.uri if "://" in plan.storage.uri else plan.storage.root
        job = _Job(
            plan.config, out, plan.images, resident, mailbox.key, workers.threads, plan.verbose
        )
        fit = _Fit(job, workers, cluster)
        fit.start()
        try:
            _follow(fit, mailbox, display, stop, lambda: cluster.settle(reads_on=resident is None))
        finally:
            mailbox.clear()
        return fit.outcome() or Outcome(plan.resumed_at, stop.name)


def _follow(
    fit: _Fit, mailbox: Mailbox, display: Display, stop: StopRequest, settle: Callable[[], None]
) -> None:
    noted, passed_on, settled = 0, "", False
    while fit.is_alive():
        fit.join(_SECONDS_BETWEEN_LOOKS)
        news = mailbox.get("news")
        if news is not None:
            display.progress(Status(**news["status"]))
            if not settled:
                settle()
                settled = True
            for note in news["notes"][noted:]:
                display.note(note)
                noted += 1
        if stop.name and not passed_on:
            passed_on = stop.name
            mailbox.put("stop", passed_on)
            if news is None:
                # Not training yet: nothing to save, and nobody who could hear it.
                return


class _LeanTrainer(TorchTrainer):  # type: ignore[misc]
    """Leaves out two of Ray Train's callbacks, each of which starts a process.

    One hands out Ray datasets passed to the trainer; ours go to the workers as
    references. The other frees placement groups after the controller's death; a cluster
    of our own dies with its driver.
    """

    _UNUSED = ("DatasetsCallback", "PlacementGroupCleanerCallback")

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [c for c in callbacks if type(c).__name__ not in self._UNUSED]


class _Fit(threading.Thread):
    """`TorchTrainer.fit` beside the main thread, which keeps signals and the display."""

    def __init__(self, job: _Job, workers: Workers, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self._result: Any = None
        self._error: BaseException | None = None
        self._trainer = (_LeanTrainer if cluster.own else TorchTrainer)(
            _work,
            train_loop_config={"job": job},
            torch_config=TorchConfig(backend="nccl" if workers.gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers.count,
                use_gpu=workers.gpu,
                resources_per_worker=workers.resources,
            ),
            run_config=RunConfig(name=job.mailbox, storage_path=cluster.scratch),
        )

    def run(self) -> None:
        try:
            self._result = self._trainer.fit()
        except BaseException as error:
            self._error = error

    def outcome(self) -> Outcome | None:
        """How the run ended, or None when it was left before its first step.

        Raises:
            UserError: what a worker raised as such.
        """
        if isinstance(self._error, WorkerGroupError):
            # One rank's mistake makes the others fail too; only the mistake matters.
            for failure in self._error.worker_failures.values():
                cause = failure.__cause__ or failure
                for error in (failure, cause):
                    if isinstance(error, UserError):
                        raise error from None
        if self._error is not None:
            raise self._error
        return None if self._result is None else Outcome(**self._result.return_value)


def _work(settings: dict[str, Any]) -> dict[str, Any]:
    job: _Job = settings["job"]
    context = ray.train.get_context()
    keep_freed_memory()
    # A cluster may promise more CPUs than this machine has.
    torch.set_num_threads(min(job.threads, os.cpu_count() or 1))
    world = World(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    storage = Storage(job.out)
    # Ray's main thread beside this one only listens.
    give_way([os.getpid()])
    if world.size == 1:
        # Ray has made a group of one, whose thread would wake a hundred times a second.
        torch.distributed.destroy_process_group()
    # Ray brings a hundred thousand objects that the collector need not walk in every step.
    gc.collect()
    gc.freeze()
    with contextlib.ExitStack() as stack:
        control: Control = NoControl()
        if world.leads:
            control = mailbox = stack.enter_context(MailboxControl(Mailbox(job.mailbox)))
            mailbox.export = Gauges(job.out).set
        rows = stack.enter_context(contextlib.closing(_rows(job, storage, world, control)))
        return asdict(train(job.config, storage, job.images, rows, world, control))


def _rows(job: _Job, storage: Storage, world: World, control: Control) -> Rows:
    limit = job.config.feed.skip_bad
    # Every rank meets all damage of a resident set, and only its own of a streamed one.
    lists = world.leads or job.config.feed.way == "streaming"
    return open_rows(
        job.config,
        job.images,
        world,
        resident=lambda: Pixels(*ray.get(job.resident)),
        reader=lambda fragments: read_on_ray(job.images, fragments, limit > 0, job.verbose),
        damage=Damage(job.images, limit, storage if lists else None, world.rank, control.note),
    )
