"""What a run would be, without one: every check of `distgan.launch.start.train`, and no write."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from distgan.config.run import RunConfig
from distgan.data.feed_mode import describe_run
from distgan.data.images import ImageSet
from distgan.data.spec import data_spec
from distgan.families.check import weights
from distgan.launch.ray.workers import Asked, Device, Node, cores_for, decide
from distgan.launch.start import MAX_FAILURES, checked
from distgan.runs import folder as run
from distgan.storage import machine
from distgan.storage.storage import Storage


@dataclass(frozen=True)
class DryRun:
    """A run that could start."""

    config: RunConfig
    images: ImageSet
    feed: str
    """How images would reach the workers, as a line for the user."""
    weights: dict[str, int]
    """How many each network has, by role."""
    workers: str
    """Those that it would have, as a line for the user."""
    out: str
    """The folder; the time in its name is only known at the start."""

    @property
    def updates(self) -> int:
        """Whole batches that the run trains on."""
        return self.config.total // self.config.batch


def dry_run(
    config: RunConfig,
    *,
    out: str | None = None,
    workers: Asked = None,
    address: str | None = None,
    device: Device = "auto",
    max_failures: int = MAX_FAILURES,
) -> DryRun:
    """Check a run as `distgan.launch.start.train` does, whose arguments these are.

    No cluster is started or joined, so how many workers a running one has room for, and whether
    remote storage can be written, are not known.

    Raises:
        UserError: for what `train` would refuse before it starts anything.
    """
    config, sets, address = checked(config, workers, address, device, max_failures)
    if out is not None:
        run.check_free(Storage(out))
    return DryRun(
        config,
        sets.images,
        describe_run(config, sets),
        weights(config, data_spec(*sets)),
        _workers(config, workers, address, device),
        out or f"runs/{config.recipe}-DATE-TIME",
    )


def _workers(config: RunConfig, asked: Asked, address: str | None, device: Device) -> str:
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if asked == 0:
        where = "one GPU" if gpus else f"{machine.cores()} CPU threads"
        return f"this process with {where}, without Ray"
    if address is not None:
        return f"as the cluster at {address} has room for, not asked now"
    here = [Node(cores_for(asked, machine.cores()), gpus)]
    return decide(asked, device, here, config.micro_batch).describe()
