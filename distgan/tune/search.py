"""The Python behind `distgan tune`: everything that can be checked is, before any cluster."""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
import yaml

from distgan import __version__, features, machine
from distgan.config import Config, to_yaml
from distgan.data.images import ImageSet, open_images
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.launch.address import check_address, cluster_address
from distgan.launch.environment import prepare_own_cluster
from distgan.launch.signals import StopRequest
from distgan.launch.start import MAX_FAILURES, check
from distgan.launch.workers import Device
from distgan.settings import from_dict, override, to_dict
from distgan.storage import Storage
from distgan.textfiles import Shape, parse_yaml, read_text
from distgan.textfiles import check as check_shape
from distgan.tune import record, results
from distgan.tune.record import Trial
from distgan.tune.results import Found
from distgan.tune.room import Room, decide
from distgan.tune.settings import MOST_SAMPLES, TuneSettings
from distgan.tune.space import Space, default_space

FILE = "search.yaml"


class Board(Protocol):
    """Where a search is shown; `distgan.tune.board.Table` is one."""

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

    base: Config
    space: Space
    settings: TuneSettings
    storage: Storage
    address: str | None
    device: Device
    verbose: bool
    room: Room | None
    """None until the size of a cluster that is joined is known."""


def tune(
    base: Config,
    space: Mapping[str, str] | None = None,
    settings: TuneSettings | None = None,
    *,
    out: str | None = None,
    address: str | None = None,
    device: Device = "auto",
    board: Board | None = None,
    verbose: bool = False,
) -> Found:
    """Search for better settings of a configuration.

    Args:
        base: for example ``recipe("mnist-mlp")``.
        space: what each setting may be, by dotted name, as text such as
            ``loguniform(1e-5, 1e-3)``; None for `default_space`.
        settings: of the search itself.
        out: folder or URI; by default ``searches/RECIPE-DATE-TIME``.
        address: a running Ray cluster; None also heeds ``RAY_ADDRESS`` and otherwise starts one.

    Raises:
        UserError: for anything the caller can mend, mostly before a cluster starts.
    """
    settings = (settings or TuneSettings()).settle(base)
    found = Space(base, space if space is not None else default_space(base))
    if settings.scheduler == "pbt":
        if settings.confirm:
            raise UserError(
                f"--confirm {settings.confirm}: what pbt finds is a schedule, not a "
                "configuration to train again; leave it out, or use --scheduler asha"
            )
        found = found.changeable()
    path = out or f"searches/{base.recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    plan = _check(base, found, settings, Storage(path), address, device, verbose)
    _create(plan)
    try:
        return _run(plan, board or _Silent())
    except BaseException:
        # The same command, once mended, is to find the folder as this one has.
        with contextlib.suppress(OSError, UserError):
            if plan.storage.names() == [FILE]:
                plan.storage.delete_folder()
        raise


def resume(
    path: str,
    changes: Mapping[str, Any] | None = None,
    *,
    address: str | None = None,
    device: Device = "auto",
    board: Board | None = None,
    verbose: bool = False,
) -> Found:
    """Go on with a search that was stopped or killed; trials that are over stay as they are.

    Args:
        path: the search's folder or URI.
        changes: settings of `TuneSettings` that do not change what a trial is: ``samples``,
            ``concurrent``, ``workers_per_trial``, ``time_limit``, ``confirm``, ``confirm_top``
            and ``retries``.

    Raises:
        UserError: when there is no such search, or the changes would make it another.
    """
    storage = Storage(path)
    base, space, settings = read(storage, "--resume")
    for name in changes or {}:
        if name not in _MAY_CHANGE:
            raise UserError(
                f"--{name.replace('_', '-')}: the search {path} has its own, and changing it would "
                "make another search; leave it out, or start anew with another --out"
            )
    settings = override(settings, changes or {})
    record.check_points(storage, record.load_all(storage), space)
    plan = _check(base, space, settings, storage, address, device, verbose)
    _write(plan)
    return _run(plan, board or _Silent())


_MAY_CHANGE = (
    *("samples", "concurrent", "workers_per_trial", "time_limit", "confirm", "confirm_top"),
    "retries",
)


def read(storage: Storage, option: str) -> tuple[Config, Space, TuneSettings]:
    """A search from its folder.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    if not storage.exists(FILE):
        raise UserError(
            f"{option} {storage.uri}: holds no search (no {FILE}); give a folder that "
            "`distgan tune` wrote"
        )
    source = storage.show(FILE)
    remedy = "put back the file that the search wrote, or start anew with another --out"
    found = parse_yaml(read_text(storage, FILE, remedy), source, remedy)
    found = check_shape(_File, found, source, remedy)
    base = from_dict(Config, found["config"], source)
    settings = from_dict(TuneSettings, found["settings"], source)
    return base, Space(base, found["space"], source), settings


class _File(Shape):
    config: dict[str, Any]
    space: dict[str, str]
    settings: dict[str, Any]


def _check(
    base: Config,
    space: Space,
    settings: TuneSettings,
    storage: Storage,
    address: str | None,
    device: Device,
    verbose: bool,
) -> Plan:
    address = cluster_address(address)
    trial = settings.trial(base, base.seed)
    images = open_images(base.data)
    _check_measures(settings, trial, images)
    check(trial, images, None, None, "auto", MAX_FAILURES)
    room = None
    if address is None:
        room = decide(settings, device, torch.cuda.device_count(), machine.cores())
    else:
        check_address(address)
    if settings.search == "optuna":
        _require_optuna()
    return Plan(base, space, settings, storage, address, device, verbose, room)


def _check_measures(settings: TuneSettings, trial: Config, images: ImageSet) -> None:
    try:
        features.resolve(settings.features, images)
    except UserError as error:
        text = str(error).removeprefix("--evaluate.features ")
        raise UserError(f"--metric {settings.metric}: {text}") from None
    classes = len(images.classes) if trial.conditional else 0
    evaluation.check(trial.evaluate, classes, images.count)


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UserError(
            "--search optuna: needs optuna, which is not installed; "
            "pip install 'distgan[tune]', or use --search random"
        ) from None


def _create(plan: Plan) -> None:
    storage = plan.storage
    if storage.exists(FILE):
        raise UserError(
            f"--out {storage.uri}: holds another search; go on with it by "
            f"--resume {storage.uri}, or choose another --out"
        )
    if storage.names():
        raise UserError(f"--out {storage.uri}: is not empty; choose another --out")
    from distgan.tune.points import given

    given(plan.space, plan.settings)
    storage.make()
    _write(plan)


def _write(plan: Plan) -> None:
    content = {
        "distgan": __version__,
        "settings": to_dict(plan.settings),
        "space": plan.space.texts,
        "config": yaml.safe_load(to_yaml(plan.base)),
    }
    plan.storage.write(FILE, yaml.safe_dump(content, sort_keys=False))


def _run(plan: Plan, board: Board) -> Found:
    if plan.address is None:
        # Before Ray's first import.
        prepare_own_cluster()
    from distgan.tune.on_ray import prepare

    board.start(plan)
    prepare()
    board.note(f"joining Ray at {plan.address}" if plan.address else "starting Ray")
    from distgan.launch.cluster import StartStoppedError

    start = time.monotonic()
    with StopRequest() as stop, contextlib.suppress(StartStoppedError):
        _search(plan, board, stop, start)
    trials = record.load_all(plan.storage)
    seconds = time.monotonic() - start
    found = results.sum_up(plan.storage.uri, trials, plan.settings, stop.name, seconds)
    results.write(plan.storage, found, plan.base, plan.space, plan.settings)
    return found


def _search(plan: Plan, board: Board, stop: StopRequest, start: float) -> None:
    from distgan.launch.cluster import Cluster

    with Cluster(plan.address, None, plan.verbose, stop) as cluster:
        if not cluster.own:
            from distgan.launch.probe import probe

            # Trials on any node write where the search reads.
            probe(plan.storage, open_images(plan.base.data))
        plan = replace(plan, room=_room(plan))
        assert plan.room is not None
        board.note(plan.room.describe())
        _Stages(plan, board, stop, start).run()


def _room(plan: Plan) -> Room:
    from distgan.tune.on_ray import resources

    return plan.room or decide(plan.settings, plan.device, *resources())


class _Stages:
    """The search, then its confirmation, each a list of trials for Ray Tune."""

    def __init__(self, plan: Plan, board: Board, stop: StopRequest, start: float) -> None:
        from distgan.tune.trial import Job

        assert plan.room is not None
        self._plan, self._board, self._stop, self._start = plan, board, stop, start
        self._records = record.Records(plan.storage)
        self._job = Job(
            out=plan.storage.anywhere(),
            settings=replace(plan.settings, workers_per_trial=plan.room.workers),
            space=plan.space,
            base=plan.base,
            mailbox=uuid.uuid4().hex,
            threads=plan.room.threads,
            device="cpu" if plan.device == "cpu" else "auto",
        )

    def run(self) -> None:
        self._search()
        if self._plan.settings.confirm and not self._stop.name:
            self._confirm()

    def _search(self) -> None:
        from distgan.tune import points
        from distgan.tune.schedulers import Asha, scheduler

        plan, settings = self._plan, self._plan.settings
        known = [t for t in record.load_all(plan.storage) if t.confirms is None]
        numbers, over = {t.number for t in known}, [t for t in known if t.over]
        # Those that stand where they were stopped go first.
        left = [t for t in known if not t.over]
        left += [
            Trial(number=number, point=point, seed=plan.base.seed)
            for number, point in enumerate(points.given(plan.space, settings))
            if number not in numbers
        ]
        drawn = sum(len(t.adoptions) for t in known)
        assert plan.room is not None
        ours = scheduler(settings, plan.space, drawn, plan.room.concurrent)
        asha = ours if isinstance(ours, Asha) else None
        if asha is not None:
            for trial in over:
                asha.recall(f"before-{trial.number}", trial.history)
        source: points.Listed | list[Trial] = left
        further: list[int] = []
        if settings.search == "optuna":
            further = [n for n in range(1, settings.samples) if n not in numbers]
            seed = plan.base.seed
            source = points.Optuna(left, over, further, plan.space, settings, seed, asha)
        elif settings.scheduler != "pbt":
            source = points.Listed(left, asha)
        if left or further:
            self._fit(source, ours, len(left) + len(further))

    def _confirm(self) -> None:
        from distgan.tune import points

        settings = self._plan.settings
        trials = record.load_all(self._plan.storage)
        top = results.ranked(trials, settings)[: settings.confirm_top]
        again = [t for t in top if t.number != 0]
        if not again:
            self._board.note("nothing to confirm: no trial is better than the recipe as it is")
            return
        left = [t for t in self._confirmations(trials, again) if not t.over]
        if left:
            names = ", ".join(str(t.number) for t in again)
            self._board.note(
                f"confirming trial {names} and the recipe with {settings.confirm} seeds"
            )
            self._fit(points.Listed(left), None, len(left))

    def _confirmations(self, trials: list[Trial], again: list[Trial]) -> Iterator[Trial]:
        """The recipe and some trials, each with every fresh seed; begun ones as they stand."""
        seed, settings = self._plan.base.seed, self._plan.settings
        known = {(t.confirms, t.seed): t for t in trials if t.confirms is not None}
        numbers = itertools.count(max([MOST_SAMPLES, *(t.number + 1 for t in known.values())]))
        for turn, trial in itertools.product(range(settings.confirm), (None, *again)):
            number, point = (trial.number, trial.point) if trial else (0, {})
            yield known.get((number, seed + 1 + turn)) or Trial(
                number=next(numbers), point=point, seed=seed + 1 + turn, confirms=number
            )

    def _fit(self, source: Any, ours: Any, count: int) -> None:
        from distgan.tune.on_ray import Search

        plan, limit = self._plan, self._plan.settings.time_limit * 60
        assert plan.room is not None
        Search(self._job, plan.room, self._stop, ours, source, count).run(
            lambda news: self._board.show(self._records.current(news), news),
            lambda: bool(limit) and time.monotonic() - self._start > limit,
        )
