"""How many trials run at a time, and what each holds."""

from __future__ import annotations

from dataclasses import dataclass

from distgan.errors import UserError
from distgan.launch.ray.workers import Device
from distgan.tune.settings import TuneSettings


@dataclass(frozen=True)
class TrialResources:
    """``concurrent`` trials of ``workers`` processes with ``threads`` CPUs, and a GPU, each."""

    concurrent: int
    workers: int
    threads: int
    gpu: bool

    @property
    def driver(self) -> dict[str, float]:
        """What a trial's own process holds: next to nothing where others train for it."""
        if self.workers:
            # A byte: a process that holds nothing is none that Ray Tune can place.
            return {"memory": 1.0}
        return {"CPU": float(self.threads), **({"GPU": 1.0} if self.gpu else {})}

    def describe(self) -> str:
        """One line for the user."""
        each = f"{max(self.workers, 1)} worker{'s' * (self.workers > 1)}"
        threads = f"{self.threads} CPU thread{'s' * (self.threads > 1)}"
        holds = f"a GPU and {threads}" if self.gpu else threads
        trials = f"{self.concurrent} trial{'s' * (self.concurrent > 1)} at a time"
        return f"{trials}, {each} of {holds}" + (" each" if self.workers > 1 else "")


def decide(settings: TuneSettings, device: Device, gpus: int, cores: int) -> TrialResources:
    """As many trials as there is room for, sharing out all processors.

    Args:
        gpus: of the machine or cluster.
        cores: likewise.

    Raises:
        UserError: when there is less than was asked for.
    """
    gpu = gpus > 0 and device != "cpu"
    if device == "gpu" and not gpus:
        raise UserError("--device gpu: there is no GPU here; leave it out, or use --device cpu")
    there, what = (gpus, "GPUs") if gpu else (cores, "CPU cores")
    workers = settings.workers_per_trial
    each = max(workers, 1)
    if each > there:
        raise UserError(
            f"--workers-per-trial {workers}: no trial could ever run on {there} {what}; "
            f"use {there} or fewer, or a larger cluster (--address)"
        )
    room = there // each
    if settings.concurrent > room:
        raise UserError(
            f"--concurrent {settings.concurrent}: {there} {what} have room for {room} trials of "
            f"{each} at a time; use {room} or fewer, or fewer --workers-per-trial"
        )
    concurrent = min(settings.concurrent or room, settings.samples)
    return TrialResources(concurrent, workers, max(cores // (concurrent * each), 1), gpu)
