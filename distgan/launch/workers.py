"""How many workers a run gets, and what each of them holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from distgan.errors import UserError

Device = Literal["auto", "cpu", "gpu"]
"""Where to train: ``auto`` takes GPUs where there are any."""


@dataclass(frozen=True)
class Workers:
    """``count`` processes of ``threads`` CPU threads, and a GPU, each."""

    count: int
    gpu: bool
    threads: int

    @property
    def resources(self) -> dict[str, float]:
        """Ray's name for what each worker holds."""
        return {"CPU": self.threads, **({"GPU": 1} if self.gpu else {})}

    def describe(self) -> str:
        """One line for the user."""
        threads = f"{self.threads} CPU thread{'s' if self.threads > 1 else ''}"
        holds = f"one GPU and {threads}" if self.gpu else threads
        return (
            f"1 worker of {holds}" if self.count == 1 else f"{self.count} workers of {holds} each"
        )


def decide(
    asked: int | None, device: Device, gpus: int, node_cores: list[int], batch: int
) -> Workers:
    """One worker per GPU; else one per two cores, and at least two where there are two.

    Args:
        asked: what the user wants, or None for the default.
        gpus: how many GPUs there are.
        node_cores: CPU cores of each node.
        batch: images in a global batch, more than which no workers can share.

    Raises:
        UserError: when there is less than what was asked for.
    """
    check_gpus(asked, device, gpus)
    gpu, cores = gpus > 0 and device != "cpu", sum(node_cores)
    count = asked or min(gpus if gpu else max(min(cores, 2), cores // 2), batch)
    # The most threads with which all workers still find room on the nodes.
    for threads in range(max(node_cores), 0, -1):
        if sum(n // threads for n in node_cores) >= count:
            return Workers(count, gpu, threads)
    raise UserError(
        f"--workers {count}: more than the {cores} CPUs of the cluster; use {cores} or fewer"
    )


def check_gpus(asked: int | None, device: Device, gpus: int) -> None:
    """Compare what was asked for with the GPUs there are.

    Raises:
        UserError: when there are fewer.
    """
    if device == "gpu" and gpus == 0:
        raise UserError("--device gpu: there is no GPU here; use --device cpu or auto")
    if device != "cpu" and gpus and (asked or 0) > gpus:
        raise UserError(
            f"--workers {asked}: more than the {gpus} GPU{'s' if gpus > 1 else ''} there are; "
            f"use --workers {gpus} or fewer, or --device cpu"
        )
