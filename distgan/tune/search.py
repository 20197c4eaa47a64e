"""The Python behind `distgan tune`: everything that can be checked is, before any cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from distgan.config.run import RunConfig
from distgan.config.settings import from_dict, override, to_dict
from distgan.data import identity
from distgan.data.sides import Sets, open_sets
from distgan.data.spec import data_spec
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.families import build
from distgan.launch.ray.address import check_address, cluster_address
from distgan.launch.ray.environment import prepare_own_cluster
from distgan.launch.ray.workers import Device
from distgan.launch.signals import StopRequest
from distgan.launch.start import MAX_FAILURES, check
from distgan.launch.surroundings import restored
from distgan.storage import machine
from distgan.storage.ownership import Ownership, make_unused
from distgan.storage.storage import Storage
from distgan.tune import disk, folder, record, results
from distgan.tune.given import given
from distgan.tune.record import Trial
from distgan.tune.results import Found
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Space
from distgan.tune.trial_resources import TrialResources, decide


class Board(Protocol):
    """Where a search is shown; `distgan.cli.tune_table.Table` is one."""

    def start(self, plan: Plan) -> None:
        """The search is about to start."""

    def note(self, text: str) -> None:
        """Something worth a line of its own."""

    def show(self, trials: list[Trial], news: dict[int, dict[str, Any]]) -> None:
        """How the trials stand, and what those that run last told; a few times a second."""


class _Silent:
    def start(self, plan: Plan) -> None: ...
    def note(self, text: str) -> None: ...
    def show(self, trials: list[Trial], news: dict[int, dict[str, Any]]) -> None: ...


@dataclass(frozen=True)
class Plan:
    """A search that has passed every check that needs no cluster."""

    base: RunConfig
    space: Space
    settings: TuneSettings
    storage: Storage
    address: str | None
    device: Device
    verbose: bool
    room: TrialResources | None
    """None until the size of a cluster that is joined is known."""


def tune(
    base: RunConfig,
    space: Mapping[str, str] | None = None,
    settings: TuneSettings | None = None,
    *,
    out: str | None = None,
    address: str | None = None,
    device: Device = "auto",
    board: Board | None = None,
    verbose: bool = False,
    stop: StopRequest | None = None,
) -> Found:
    """Search for better settings of a configuration.

    Args:
        base: for example ``recipe("mnist-mlp")``.
        space: what each setting may be, by dotted name, as text such as
            ``loguniform(1e-5, 1e-3)``; None for that of `RunConfig.search_space`.
        settings: of the search itself.
        out: folder or URI; by default ``searches/RECIPE-DATE-TIME``.
        address: a running Ray cluster; None also heeds ``RAY_ADDRESS`` and otherwise starts one.
        stop: what asks the search to stop; None listens to Ctrl-C and SIGTERM.

    Raises:
        UserError: for anything the caller can mend, mostly before a cluster starts.
    """
    # A mistake is told in the user's words; but trials run in working folders of their own.
    open_sets(base)
    base = identity.findable(base)
    settings = (settings or TuneSettings()).settle(base)
    found = Space(base, space if space is not None else base.search_space())
    if settings.scheduler == "pbt":
        found = found.changeable()
    address = cluster_address(address)
    room = _check(base, found, settings, address, device)
    storage = Storage(out) if out else make_unused("searches", base.recipe)
    with Ownership(storage, "a search", made=not out) as owner:
        folder.create(storage, base, found, settings)
        try:
            storage = owner.claim()
            plan = Plan(base, found, settings, storage, address, device, verbose, room)
            return _run(plan, board or _Silent(), stop or StopRequest())
        except BaseException:
            # The same command, once mended, is to find the folder as this one has.
            folder.withdraw(storage)
            raise


def resume(
    path: str,
    changes: Mapping[str, Any] | None = None,
    *,
    address: str | None = None,
    device: Device = "auto",
    board: Board | None = None,
    verbose: bool = False,
    stop: StopRequest | None = None,
) -> Found:
    """Go on with a search that was stopped or killed.

    Trials that came to their end stay as they are; those that were stopped, or whose process
    died or failed, go on from their checkpoints.

    Args:
        path: the search's folder or URI.
        changes: settings of `TuneSettings` that do not change what a trial is: ``samples``,
            ``concurrent``, ``workers_per_trial``, ``time_limit``, ``confirm``, ``confirm_top``
            and ``retries``.

    Raises:
        UserError: when there is no such search, the changes would make it another, or
            somebody has edited its files.
    """
    storage = Storage(path)
    folder.require(storage, "--resume")
    with Ownership(storage, "a search", "--resume") as owner:
        folder.read(storage, "--resume")
        # Before anything is read that trials of a lost driver might still write.
        storage = owner.claim()
        return _resume(storage, path, changes or {}, address, device, board, verbose, stop)


def _resume(
    storage: Storage,
    path: str,
    changes: Mapping[str, Any],
    address: str | None,
    device: Device,
    board: Board | None,
    verbose: bool,
    stop: StopRequest | None,
) -> Found:
    base, space, settings = folder.read(storage, "--resume")
    folder.check_unedited(storage, "--resume")
    for name in changes:
        if name not in _MAY_CHANGE:
            raise UserError(
                f"--{name.replace('_', '-')}: the search {path} has its own, and changing it would "
                "make another search; leave it out, or start anew with another --out"
            )
    settings = from_dict(TuneSettings, {**to_dict(settings), **changes})
    settings.check()
    record.check_points(storage, record.load_all(storage), space)
    folder.check_trials(storage, record.load_all(storage), space, settings)
    address = cluster_address(address)
    room = _check(base, space, settings, address, device)
    plan = Plan(base, space, settings, storage, address, device, verbose, room)
    folder.write(storage, base, space, settings)
    return _run(plan, board or _Silent(), stop or StopRequest())


_POINTS_CHECKED = 50
"""For which networks are built, without memory, to see that they fit the images."""

_MAY_CHANGE = (
    *("samples", "concurrent", "workers_per_trial", "time_limit", "confirm", "confirm_top"),
    "retries",
)


def _check(
    base: RunConfig,
    space: Space,
    settings: TuneSettings,
    address: str | None,
    device: Device,
) -> TrialResources | None:
    """See that a search can be; its room, None until a cluster that is joined is known."""
    trial = settings.trial(base, base.seed)
    sets = open_sets(base)
    _check_measures(settings, trial, sets, space)
    for point in given(space, settings)[:_POINTS_CHECKED]:
        check(override(trial, space.changes(point)), sets, None, None, "auto", MAX_FAILURES)
    room = None
    if address is None:
        room = decide(settings, device, torch.cuda.device_count(), machine.cores())
    else:
        check_address(address)
    if settings.search == "optuna":
        _require_optuna()
    return room


_OF_ONE_LIKELIHOOD = ("elbo", "iwae")
_LIKELIHOODS = ("likelihood.name", "likelihood.binarise")
"""Settings of what a bound in nats is of: greys, black and white pixels, a density, or levels."""


def _check_measures(settings: TuneSettings, trial: RunConfig, sets: Sets, space: Space) -> None:
    mixed = [name for name in _LIKELIHOODS if name in space.texts]
    if settings.metric in _OF_ONE_LIKELIHOOD and mixed:
        raise UserError(
            f"--metric {settings.metric}: bounds of different likelihoods do not compare, and the "
            f"space varies {mixed[0]}; leave that out, or use --metric reconstruction-frechet"
        )
    family = build(trial, data_spec(*sets))
    try:
        evaluation.check(trial.evaluate, family, *sets)
    except UserError as error:
        text, metric = str(error), f"--metric {settings.metric}: "
        for option in ("--evaluate.features ", f"--evaluate.metrics {trial.evaluate.metrics[0]}: "):
            text = metric + text.removeprefix(option) if text.startswith(option) else text
        raise UserError(text) from None


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError(
            "--search optuna: needs optuna, which is not installed; "
            "pip install 'distgan[tune]', or use --search random"
        ) from None


def _run(plan: Plan, board: Board, stop: StopRequest) -> Found:
    with restored(unless=stop.ends):
        return _run_here(plan, board, stop)


def _run_here(plan: Plan, board: Board, stop: StopRequest) -> Found:
    if plan.address is None:
        # Before Ray's first import.
        prepare_own_cluster()
    from distgan.tune.on_ray import prepare

    board.start(plan)
    prepare()
    board.note(f"joining Ray at {plan.address}" if plan.address else "starting Ray")
    from distgan.launch.ray.cluster import StartStoppedError

    start = time.monotonic()
    with stop, contextlib.suppress(StartStoppedError):
        _search(plan, board, stop, start)
    trials = record.load_all(plan.storage)
    seconds = time.monotonic() - start
    found = results.sum_up(plan.storage.uri, trials, plan.settings, stop.name, seconds)
    results.write(plan.storage, found, plan.base, plan.space, plan.settings)
    return found


def _search(plan: Plan, board: Board, stop: StopRequest, start: float) -> None:
    from distgan.launch.ray.cluster import Cluster

    with Cluster(plan.address, None, plan.verbose, stop) as cluster:
        cluster.when_over = lambda: folder.clear_unfinished(plan.storage)
        if not cluster.own:
            from distgan.launch.ray.probe import probe

            # Trials on any node write where the search reads.
            for images in filter(None, open_sets(plan.base)):
                probe(plan.storage, images)
        if plan.room is None:
            each = max(plan.settings.workers_per_trial, 1)
            count = max(plan.settings.concurrent or 1, 1) * each
            plan = replace(plan, device=cluster.grow(count, plan.device, note=board.note))
        plan = replace(plan, room=_room(plan))
        assert plan.room is not None
        board.note(plan.room.describe())
        board.note(_describe_disk(plan, plan.room))
        from distgan.tune.stages import Stages

        # Trials that run write a checkpoint first.
        cluster.end_in_order()
        Stages(plan, board, stop, start, lambda: cluster.is_lost).run()


def _describe_disk(plan: Plan, room: TrialResources) -> str:
    trial, sets = plan.settings.trial(plan.base, plan.base.seed), open_sets(plan.base)
    return disk.describe(trial, sets, plan.settings, room.concurrent, plan.storage)


def _room(plan: Plan) -> TrialResources:
    from distgan.tune.on_ray import resources

    return plan.room or decide(plan.settings, plan.device, *resources())
