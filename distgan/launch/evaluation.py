"""The API of `distgan evaluate`: evaluation of a run that has ended or was stopped."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from distgan.config import settings
from distgan.config.run import RunConfig
from distgan.data import identity
from distgan.data.sides import Sets, open_sets
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.evaluation import Evaluation, Evaluator
from distgan.launch import gpus
from distgan.launch.ray.address import check_address, cluster_address
from distgan.launch.ray.environment import prepare_own_cluster
from distgan.launch.ray.workers import Device, check_gpus
from distgan.launch.signals import StopRequest
from distgan.launch.surroundings import restored
from distgan.parallel import World
from distgan.runs import folder as run
from distgan.runs.export import load_generator
from distgan.runs.generator import LoadedGenerator
from distgan.runs.translator import LoadedTranslator
from distgan.storage.storage import Storage


@dataclass(frozen=True)
class Job:
    """What to measure; sent to the workers by pickle."""

    config: RunConfig
    sets: Sets
    run: str
    """Address of the run that is valid in any process."""
    reverse: bool = False
    """Of a translation both ways, measure the other one."""

    def load(self) -> LoadedGenerator:
        """The generator, as `distgan.runs.export.load_generator` finds it.

        Raises:
            UserError: for ``reverse`` of a model that translates one way only, or not at all.
        """
        found = load_generator(self.run, self.config.evaluate.weights)
        if not self.reverse:
            return found
        if not isinstance(found, LoadedTranslator):
            raise UserError(f"--reverse: RUN {self.run} makes no images of images; leave it out")
        return replace(found, family=found.translation.reversed())

    def measure(self, generator: LoadedGenerator, world: World) -> Evaluation:
        """The values; all ranks must call it."""
        evaluator = Evaluator(
            self.config.evaluate,
            self.sets.images,
            self.config.data,
            generator.family,
            world,
            self.sets.other,
        )
        networks = {role: net.to(world.device) for role, net in generator.networks.items()}
        return evaluator.evaluate(networks, generator.images_seen)


def evaluate(
    uri: str,
    changes: Mapping[str, Any] | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    device: Device = "auto",
    threads: int | None = None,
    reverse: bool = False,
    note: Callable[[str], object] = lambda text: None,
    stop: StopRequest | None = None,
) -> Evaluation:
    """Measure the newest generator of a run, and keep the result in its folder.

    Args:
        uri: path or URI of the run.
        changes: settings of `EvaluateSettings` by name; the others are the run's own.
        workers: processes on Ray that share the work; 0 is this process. None is 0, or a whole
            cluster if ``address`` or ``RAY_ADDRESS`` names one.
        address: a running Ray cluster, as ``ray.init`` takes it.
        threads: CPUs of each worker; None divides all there are.
        reverse: of a model that translates both ways, measure the other one.
        note: takes a line for the user.
        stop: what asks the workers to stop; None listens to Ctrl-C and SIGTERM.

    Raises:
        KeyboardInterrupt, SystemExit: when a stop was asked for; nothing is kept then.
        UserError: when there is no run, a setting does not fit, or fewer images or resources
            than requested exist.
    """
    try:
        return _evaluate(uri, changes or {}, workers, address, device, threads, reverse, note, stop)
    except UserError as error:
        # Options of `distgan evaluate` have no prefix ``evaluate.``, and hyphens.
        options = re.compile(r"--evaluate\.(\w+)")
        text = options.sub(lambda found: f"--{found[1].replace('_', '-')}", str(error))
        raise UserError(text) from None


def _evaluate(
    uri: str,
    changes: Mapping[str, Any],
    workers: int | None,
    address: str | None,
    device: Device,
    threads: int | None,
    reverse: bool,
    note: Callable[[str], object],
    stop: StopRequest | None,
) -> Evaluation:
    storage = Storage(uri)
    config = run.load_config(storage, "RUN")
    named = {f"evaluate.{name}": value for name, value in changes.items()}
    config = identity.findable(settings.override(config, named))
    # Read now the file that the result is appended to: a damaged one is reported before the work.
    evaluation.read(storage)
    sets = open_sets(config)
    job = Job(config, sets, storage.anywhere(), reverse)
    generator = job.load()
    if not generator.images_seen:
        raise UserError(f"RUN {uri}: has not trained yet; go on with --resume {uri}")
    evaluation.check(config.evaluate, generator.family, *sets)
    address = cluster_address(address)
    if workers is not None and workers < 0:
        raise UserError(f"--workers {workers}: should be 0 or more")
    if workers == 0 or (workers is None and address is None):
        gpu = torch.cuda.is_available() and device != "cpu"
        check_gpus(workers, device, torch.cuda.device_count(), gpus.unseen())
        found = job.measure(generator, World(device=torch.device("cuda" if gpu else "cpu")))
    else:
        stop = stop or StopRequest()
        with restored(unless=stop.ends), stop:
            found = _on_ray(job, workers, address, device, threads, note, stop)
    evaluation.remember(storage, found)
    return found


def _on_ray(
    job: Job,
    workers: int | None,
    address: str | None,
    device: Device,
    threads: int | None,
    note: Callable[[str], object],
    stop: StopRequest,
) -> Evaluation:
    if address is None:
        check_gpus(workers, device, torch.cuda.device_count(), gpus.unseen())
        prepare_own_cluster()
    else:
        check_address(address)
    from distgan.launch.ray.cluster import Cluster, StartStoppedError

    note(f"joining Ray at {address}" if address else "starting Ray")
    cluster = Cluster(address, workers, verbose=False, stop=stop)
    from distgan.launch.ray.evaluation import measure_on_ray

    try:
        return measure_on_ray(job, cluster, device, threads, note)
    except StartStoppedError:
        stop.leave()
