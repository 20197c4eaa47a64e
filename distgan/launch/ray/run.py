"""Training on a Ray cluster: find or start one, feed it, run the loop on its workers."""

from __future__ import annotations

import contextlib
import gc
import os
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray.train
import ray.train.torch
import torch

from distgan.config.run import RunConfig
from distgan.data import feed_mode as ways
from distgan.data.damage import Damage
from distgan.data.feed import SampleSource
from distgan.data.images import ImageSet
from distgan.data.rows import Access, open_sides
from distgan.data.sides import Sets
from distgan.data.spec import frame_rule, reads_pairs
from distgan.errors import UserError
from distgan.launch.ray import private
from distgan.launch.ray.cluster import Cluster
from distgan.launch.ray.connection import connect
from distgan.launch.ray.driver import Follower
from distgan.launch.ray.failures import Preempted
from distgan.launch.ray.fit import Fit, choose
from distgan.launch.ray.gpu_probe import probe_gpus
from distgan.launch.ray.messages import Channel, FolderMailbox, MailboxControl, cluster_mailbox
from distgan.launch.ray.metrics import Gauges
from distgan.launch.ray.priority import give_way, make_others_give_way
from distgan.launch.ray.probe import probe
from distgan.launch.ray.reader import read_on_ray, read_resident_on_ray
from distgan.launch.signals import StopRequest
from distgan.launch.start import Display, Plan
from distgan.parallel import World
from distgan.parallel.allocator import keep_freed_memory
from distgan.runs import folder as run
from distgan.runs.events import PREPARING
from distgan.storage import machine
from distgan.storage.retrying import RetryingStorage
from distgan.storage.storage import Storage
from distgan.training.control import PREEMPTION, RESIZE, Control, NoControl, Outcome
from distgan.training.loop import train_loop


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know; travels to it by pickle."""

    out: str
    owner: str | None
    sets: Sets
    residents: tuple[Any, Any]
    """Of each set what its whole is in Ray's object store; None where it is streamed."""
    channel: Channel
    threads: int
    verbose: bool
    own: bool
    """Whether the cluster lasts as long as the run."""
    private: bool
    """Whether the driver uses more of Ray than its documented interface."""


def run_on_ray(plan: Plan, display: Display, stop: StopRequest, cluster: Cluster) -> Outcome:
    """Train on the workers of a cluster and show what they report.

    Raises:
        UserError: when the cluster cannot be reached or is too small, or a worker met a
            mistake that the user can mend.
    """
    workers = cluster.workers(plan.device, plan.config.micro_batch, plan.threads, display.note)
    display.note(workers.describe())
    if not cluster.own:
        plan = _settle_by_nodes(plan, cluster.memory(), display)
        for images in filter(None, plan.sets):
            probe(plan.storage, images)
        if workers.gpu:
            probe_gpus(workers.count, display.note)
    streams = plan.config.feed.way == "streaming"
    residents = (None, None) if streams else _load(plan, display, cluster)
    channel = (
        FolderMailbox(f"{cluster.scratch}/channel")
        if cluster.own
        else cluster_mailbox(uuid.uuid4().hex)
    )
    job = _Job(
        plan.storage.anywhere(),
        plan.storage.owner,
        plan.sets,
        residents,
        channel,
        workers.threads,
        plan.verbose,
        cluster.own,
        private.usable(),
    )
    fit = choose()(_work, job, workers, cluster, plan.max_failures)
    settle = lambda: cluster.settle(reads_on=streams)  # noqa: E731
    follower = Follower(channel, display, stop, plan.storage, settle, lambda: cluster.is_lost)
    display.note("starting the workers", PREPARING)
    fit.start()
    try:
        follower.follow(fit)
    finally:
        if fit.is_alive() and not cluster.breaks_off:
            if stop.name and not cluster.own:
                display.note("stopping as soon as Ray Train has started the workers")
            fit.leave(stop.name)
            if fit.is_alive() and not cluster.own:
                display.note("Ray Train goes on ending; its workers stop when they start")
        fit.then(channel.clear)
    return _outcome(fit, stop, cluster) or Outcome(follower.saved, stop.name)


def _load(plan: Plan, display: Display, cluster: Cluster) -> tuple[Any, Any]:
    display.note("loading the data", PREPARING)
    replace, pairs = plan.config.feed.skip_bad > 0, reads_pairs(plan.config, plan.images)
    images, other = plan.sets

    def load(of: ImageSet, pairs: bool) -> Any:
        return cluster.unless_stopped(
            lambda: read_resident_on_ray(of, replace, plan.verbose, pairs)
        )

    return load(images, pairs), None if other is None else load(other, False)


def _outcome(fit: Fit, stop: StopRequest, cluster: Cluster) -> Outcome | None:
    try:
        return fit.outcome()
    except UserError:
        raise
    except Exception:
        # Of workers that the same signal has ended; what they did not save is gone.
        if stop.name and cluster.own:
            return None
        raise


def _settle_by_nodes(plan: Plan, memory: int | None, display: Display) -> Plan:
    """Settle what was left to choose by the memory of those who hold the set, not the driver's."""
    asked, config = plan.asked_feed, plan.config
    if asked is None or memory is None:
        return plan
    feed = ways.settle_run(replace(config, feed=asked), plan.sets, memory)
    if feed == config.feed:
        return plan
    config = replace(config, feed=feed)
    run.update(plan.storage, config)
    display.note(f"by the nodes' memory: {ways.describe_run(config, plan.sets)}")
    return replace(plan, config=config)


def _work(settings: dict[str, Any]) -> dict[str, Any]:
    job: _Job = settings["job"]
    context = ray.train.get_context()
    if not job.private:
        # The driver may be on another machine.
        os.environ[private.VARIABLE] = "1"
    keep_freed_memory()
    # A cluster may promise more CPUs than this machine has.
    torch.set_num_threads(min(job.threads, machine.cores()))
    world = World(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())
    if job.own and world.device.type == "cpu":
        _give_way(job, world)
    if world.size == 1 and torch.distributed.is_initialized():
        # Ray has made a group of one, whose thread would wake a hundred times a second.
        torch.distributed.destroy_process_group()
    facts = connect(world, job.channel)
    # Ray brings a hundred thousand objects that the collector need not walk in every step.
    gc.collect()
    gc.freeze()
    with contextlib.ExitStack() as stack:
        control: Control = NoControl()
        if world.leads:
            start = uuid.uuid4().hex
            export = Gauges(job.out).set
            control = stack.enter_context(
                MailboxControl(job.channel, start, world.size, _notice(job), export)
            )
        storage = RetryingStorage(job.out, control.note, owner=job.owner)
        config = _agreed_config(storage, world)
        images, other = job.sets
        rows, other_rows = _rows(job, config, storage, world, control)
        for source in filter(None, (rows, other_rows)):
            stack.enter_context(contextlib.closing(source))
        outcome = train_loop(
            config, storage, images, rows, world, control, facts, other, other_rows
        )
        # Nobody leaves before the checkpoint is written.
        world.gather(outcome.images_seen)
        if world.leads and outcome.stopped != PREEMPTION:
            # Whoever waits to resize need not wait for a run that has ended meanwhile.
            with contextlib.suppress(Exception):
                job.channel.put("saved", outcome.images_seen)
        if outcome.stopped in (PREEMPTION, RESIZE):
            # Neither ends the run: should nobody have waited for it, the workers start again.
            raise Preempted
        return asdict(outcome)


def _give_way(job: _Job, world: World) -> None:
    """Let what Ray has made beside the thread that trains run on idle cores only.

    Not where others' processes may keep all cores busy: what gives way there may hold Python's
    lock for long, and leave questions after its health unanswered; nor on a GPU's worker, whose
    thread has kernels to start.
    """
    # It only listens, unless it brings images or gradients.
    if job.residents[0] is None or world.size > 1:
        give_way([os.getpid()])
    else:
        make_others_give_way()


def _notice(job: _Job) -> Callable[[], bool]:
    """Tells whether notice was given that a node of the workers will be taken away."""
    if job.private:
        from distgan.launch.ray.private.controller import preempted

        return preempted
    # Ray's documented way to ask makes all workers wait for one another.
    return lambda: False


def _agreed_config(storage: Storage, world: World) -> RunConfig:
    """The run's configuration as rank 0 sees it; all ranks must call it."""
    # Not the one at the start of the run, which a rollback may have changed; and a filesystem
    # that is shared may show the old one to another machine for some seconds.
    config = run.load_config(storage, "--resume") if world.leads else None
    agreed: RunConfig = world.gather(config)[0]
    return agreed


def _rows(
    job: _Job, config: RunConfig, storage: Storage, world: World, control: Control
) -> tuple[SampleSource, SampleSource | None]:
    limit, (images, other) = config.feed.skip_bad, job.sets
    # Every rank meets all damage of a resident set, and only its own of a streamed one.
    lists = world.leads or config.feed.way == "streaming"
    damage = Damage(images, limit, storage if lists else None, world.rank, control.note, other)
    rule = frame_rule(config, images)

    def access(of: ImageSet, pairs: bool) -> Access:
        return Access(
            lambda: ray.get(job.residents[of is other]),
            lambda fragments: read_on_ray(of, fragments, limit > 0, job.verbose, pairs, rule),
        )

    pairs = reads_pairs(config, images)
    return open_sides(config, images, other, world, access, damage, pairs, rule)
