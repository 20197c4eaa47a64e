"""The Python behind `distgan train`: everything that can be checked is, before any cluster."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from distgan.config.feed import FeedSettings
from distgan.config.run import RunConfig
from distgan.config.settings import override, short_count
from distgan.data import feed_mode as ways
from distgan.data import identity
from distgan.data.images import ImageSet
from distgan.data.jitter import check_load_size
from distgan.data.raw import in_use_if_kept
from distgan.data.sides import Sets, open_sets
from distgan.data.spec import data_spec
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.families import build
from distgan.families.base import MOST_ROWS
from distgan.families.check import check_networks
from distgan.health import recovery
from distgan.launch import gpus
from distgan.launch.log import LoggedDisplay
from distgan.launch.ray.address import check_address, cluster_address
from distgan.launch.ray.environment import prepare_own_cluster
from distgan.launch.ray.workers import Asked, Device, check_asked, check_gpus, cores_for
from distgan.launch.same_run import check_same_run
from distgan.launch.signals import StopRequest
from distgan.launch.surroundings import restored
from distgan.runs import checkpoint, events, export, records
from distgan.runs import folder as run
from distgan.runs.events import PREPARING
from distgan.runs.recovery import clear_unfinished, recover_index
from distgan.storage import machine
from distgan.storage.ownership import Ownership, make_unused
from distgan.storage.storage import Storage
from distgan.training.control import Outcome, Status

MAX_FAILURES = 3
"""Restarts without a new checkpoint between, by default."""


class Display(Protocol):
    """Where progress is shown; `distgan.cli.terminal.Terminal` is one."""

    def start(self, plan: Plan) -> None:
        """The run is about to start."""

    def note(self, text: str, kind: str = "") -> None:
        """Something worth a line of its own; ``kind`` names what a program may act on."""

    def progress(self, status: Status) -> None:
        """The run has come this far; called a few times a second."""


@dataclass(frozen=True)
class Plan:
    """A run that has passed every check that needs no cluster.

    ``workers`` is None for one per GPU or node of whatever cluster there is, a pair for
    as many as there is room for between the two, and 0 for this process without Ray.
    ``threads`` is how many CPUs each holds, or None for as many as there are.
    ``address`` names a running cluster. ``max_failures`` is how often in a row, without a new
    checkpoint between, workers may fail and be started again. ``asked_feed`` is the feed of a
    new run before ``config`` settled what it leaves to choose. ``storage`` writes for the run's
    owner; see `distgan.storage.ownership`. ``remarks`` are lines for the user.
    """

    config: RunConfig
    storage: Storage
    images: ImageSet
    workers: Asked
    address: str | None
    device: Device
    verbose: bool = False
    resumed_at: int = 0
    max_failures: int = MAX_FAILURES
    threads: int | None = None
    asked_feed: FeedSettings | None = None
    remarks: tuple[str, ...] = ()
    other: ImageSet | None = None
    """The second set of a run that learns from two."""

    @property
    def sets(self) -> Sets:
        """All sets."""
        return Sets(self.images, self.other)

    def describe(self) -> str:
        """What is trained on what, and where to, in one line."""
        names = (self.config.data, self.config.second_set)
        sets = [
            f"{name} ({of.count:,} {of.noun}s, {of.shape})"
            for name, of in zip(names, self.sets, strict=True)
            if of is not None
        ]
        return f"{self.config.recipe} on {' and '.join(sets)} -> {self.storage.uri}"


@dataclass(frozen=True)
class Result:
    """How a run ended: ``stopped`` names the signal that stopped it, or is empty."""

    path: str
    images_seen: int
    stopped: str
    seconds: float


class _Silent:
    def start(self, plan: Plan) -> None: ...
    def note(self, text: str, kind: str = "") -> None: ...
    def progress(self, status: Status) -> None: ...


def train(
    config: RunConfig,
    *,
    out: str | None = None,
    workers: Asked = None,
    address: str | None = None,
    device: Device = "auto",
    display: Display | None = None,
    verbose: bool = False,
    max_failures: int = MAX_FAILURES,
    threads: int | None = None,
    stop: StopRequest | None = None,
    wait: float = 0.0,
) -> Result:
    """Train from the beginning.

    Args:
        config: what to compute, for example ``override(recipe("mnist-mlp"), {"batch": 64})``.
        out: folder or URI for the run; by default ``runs/RECIPE-DATE-TIME``.
        workers: processes; None for one per GPU, without GPUs one per node with all its
            cores; a pair for at least and at most so many, as the cluster has room, also
            later; 0 for this process without Ray.
        address: a running Ray cluster, as ``ray.init`` takes it; None also heeds
            ``RAY_ADDRESS`` and otherwise starts a cluster for the duration of the run.
        device: ``auto``, ``cpu`` or ``gpu``.
        max_failures: how often in a row workers may fail and be started again without a new
            checkpoint between; 0 ends the run at the first failure.
        threads: CPUs for each worker; None shares out all there are.
        stop: what asks the run to stop; None listens to Ctrl-C and SIGTERM.
        wait: seconds to wait for another owner of the folder to leave, before it is an error.

    Raises:
        UserError: for anything the caller can mend, mostly before a cluster starts.
    """
    asked_feed = config.feed
    config, sets, address = checked(config, workers, address, device, max_failures)
    storage = Storage(out) if out else make_unused("runs", config.recipe)
    with Ownership(storage, "training", wait=wait, made=not out) as owner:
        run.create(storage, config)
        try:
            storage = owner.claim()
            identity.remember_all(storage, config, sets)
            plan = Plan(
                config,
                storage,
                sets.images,
                workers,
                address,
                device,
                verbose,
                max_failures=max_failures,
                threads=threads,
                asked_feed=asked_feed,
                other=sets.other,
            )
            return _start(plan, display, stop)
        except BaseException:
            # The same command, once mended, is to find the folder as this one has.
            run.withdraw(storage)
            raise


def checked(
    config: RunConfig, workers: Asked, address: str | None, device: Device, max_failures: int
) -> tuple[RunConfig, Sets, str | None]:
    """A new run's configuration with nothing left open, its sets, and the cluster to join.

    Raises:
        UserError: for what `check` finds in the way, or a set that cannot be read.
    """
    sets = open_sets(config)
    # A relative path is to be found from other working folders, too.
    config = identity.findable(config)
    address = cluster_address(address)
    check(config, sets, workers, address, device, max_failures)
    return replace(config, feed=ways.settle_run(config, sets)), sets, address


def resume(
    path: str,
    changes: Mapping[str, Any] | None = None,
    *,
    workers: Asked = None,
    address: str | None = None,
    device: Device = "auto",
    display: Display | None = None,
    verbose: bool = False,
    max_failures: int = MAX_FAILURES,
    threads: int | None = None,
    stop: StopRequest | None = None,
    wait: float = 0.0,
) -> Result:
    """Go on with a stopped run, on any number of workers.

    Args:
        path: the run's folder or URI.
        changes: settings by dotted name; only ``images``, ``output``, ``health`` and
            ``evaluate`` may differ from the run's own, and ``data`` and ``data_b`` may name other
            places of the same images.

    The other arguments are those of `train`.

    Raises:
        UserError: when there is no such run, it is complete, or the changes would make
            it another run.
    """
    storage = Storage(path)
    run.require(storage, "--resume")
    with Ownership(storage, "training", "--resume", wait=wait) as owner:
        saved = run.load_config(storage, "--resume")
        # Before anything is read that workers of a lost driver might still write.
        storage = owner.claim()
        clear_unfinished(storage)
        config = override(saved, changes or {})
        config = identity.findable(config)
        check_same_run(path, saved, config)
        seen, remarks = _look_over(storage, path, config)
        sets = open_sets(config)
        identity.check_all_same(storage, config, sets)
        address = cluster_address(address)
        check(config, sets, workers, address, device, max_failures)
        config = replace(config, feed=ways.settle_run(config, sets))
        run.update(storage, config)
        moved = (config.data, config.second_set) != (saved.data, saved.second_set)
        if moved or not storage.exists(identity.FILE):
            # To know a large set costs a look at all of it, which was just taken.
            identity.remember_all(storage, config, sets)
        plan = Plan(
            config,
            storage,
            sets.images,
            workers,
            address,
            device,
            verbose,
            seen,
            max_failures,
            threads,
            remarks=tuple(remarks),
            other=sets.other,
        )
        return _start(plan, display, stop)


def _look_over(storage: Storage, path: str, config: RunConfig) -> tuple[int, list[str]]:
    """Images that a run goes on from, and remarks for the user.

    Reads all that the run goes on writing: after a start would be late to hear of damage.

    Raises:
        UserError: for what is damaged, and a run that is complete.
    """
    for read in (run.starts, events.read, evaluation.read, recovery.interventions):
        read(storage)
    recorded = records.read(storage)
    remarks: list[str] = []
    recover_index(storage, remarks.append)
    checkpoints = checkpoint.index(storage)
    seen = checkpoints[-1]["images_seen"] if checkpoints else 0
    # One that was cut off between its last checkpoint and the export has that left to do.
    if seen >= config.images and export.exported(storage) >= seen:
        raise UserError(
            f"--resume {path}: is complete at {seen:,} images; give a larger --images to go "
            f"on, such as --images {further(seen)}"
        )
    if recorded and not seen:
        remarks.append(
            f"there is no checkpoint, so training begins again; {len(recorded)} records, up to "
            f"{recorded[-1]['images']:,} images, will be written anew"
        )
    return seen, remarks


def further(images_seen: int) -> str:
    """A larger ``--images`` with which a run of so many goes on."""
    return short_count(max(2 * images_seen, 1000))


def _start(plan: Plan, display: Display | None, stop: StopRequest | None) -> Result:
    with LoggedDisplay(display or _Silent(), plan) as logged:
        logged.start(plan)
        result = _train(plan, logged, stop)
        logged.finish(result)
    return result


def _train(plan: Plan, display: Display, stop: StopRequest | None) -> Result:
    for remark in plan.remarks:
        display.note(remark)
    here = plan.address is None or plan.workers == 0
    if here and plan.device == "auto" and (unseen := gpus.unseen()):
        display.note(f"training on CPUs: {unseen}; --device cpu says that CPUs are meant")
    display.note(ways.describe_run(plan.config, plan.sets))
    labels = build(plan.config, data_spec(*plan.sets)).labels
    if labels > MOST_ROWS:
        display.note(f"samples/ shows {MOST_ROWS} of {labels:,} classes")
    start = time.perf_counter()
    stop = stop or StopRequest()
    with contextlib.ExitStack() as stack:
        for images in filter(None, plan.sets):
            stack.enter_context(in_use_if_kept(images.uri))
        stack.enter_context(restored(unless=stop.ends))
        stack.enter_context(stop)
        if plan.workers == 0:
            from distgan.launch.in_process import run_in_process

            outcome = run_in_process(plan, display, stop)
        else:
            if plan.address is None:
                prepare_own_cluster()
            joining = f"joining Ray at {plan.address}" if plan.address else "starting Ray"
            display.note(joining, PREPARING)
            outcome = _on_ray(plan, display, stop)
    seconds = time.perf_counter() - start
    return Result(plan.storage.uri, outcome.images_seen, outcome.stopped, seconds)


def _on_ray(plan: Plan, display: Display, stop: StopRequest) -> Outcome:
    from distgan.launch.ray.cluster import Cluster, StartStoppedError

    cluster = Cluster(plan.address, plan.workers, plan.verbose, stop)
    cluster.when_over = lambda: clear_unfinished(plan.storage)
    # Ray Train takes a second to import, which the cluster needs to start anyway.
    threading.Thread(target=_import_ahead, args=("distgan.launch.ray.run",), daemon=True).start()
    try:
        with cluster:
            from distgan.launch.ray.run import run_on_ray

            return run_on_ray(plan, display, stop, cluster)
    except StartStoppedError:
        return Outcome(plan.resumed_at, stop.name)


def _import_ahead(module: str) -> None:
    # What goes wrong is raised where the module is wanted.
    with contextlib.suppress(Exception):
        importlib.import_module(module)


def check(
    config: RunConfig,
    sets: Sets,
    workers: Asked,
    address: str | None,
    device: Device,
    max_failures: int,
) -> None:
    """See that a run can be, as far as is known without a cluster.

    Raises:
        UserError: naming what is in the way.
    """
    data = data_spec(*sets)
    family = build(config, data)
    family.check_data()
    check_load_size(config.feed.load_size, data)
    check_asked(workers, config.batch, config.accumulate)
    if max_failures < 0:
        raise UserError(f"--max-failures {max_failures}: should be 0 or more")
    if address is None or workers == 0:
        gpus.check_slices(workers, device)
        check_gpus(workers, device, torch.cuda.device_count(), gpus.unseen())
        if not _in_a_cluster():
            cores_for(workers, machine.cores())
    else:
        check_address(address)
    if config.evaluate.every:
        evaluation.check(config.evaluate, family, *sets)
    check_networks(config, data)


def _in_a_cluster() -> bool:
    # One that this process is in already, as a trial of a search is, has room of its own.
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())
