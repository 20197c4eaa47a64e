"""The Ray cluster of a run: one that is there, or one of our own for as long as it lasts."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from typing import Any

import ray
from ray.train.torch import TorchTrainer

from distgan.errors import UserError

_QUIET = {
    # Ray asks for a token between its processes either way; said aloud, it warns that it does.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # Nothing reclaims a laptop; the watcher is a process of its own.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # A finished run is noticed at the next poll.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_DEDUP_LOGS": "0",
}
"""Environment of a cluster of our own, where the user has not set otherwise."""


@dataclass(frozen=True)
class Workers:
    """How many workers a run has, and what each holds."""

    count: int
    gpu: bool
    threads: int

    @property
    def resources(self) -> dict[str, float]:
        """Ray's name for what each worker holds."""
        return {"CPU": self.threads, **({"GPU": 1} if self.gpu else {})}

    def describe(self) -> str:
        """One line for the user."""
        each = f"{self.threads} CPU thread{'s' if self.threads > 1 else ''}"
        return (
            f"{self.count} worker{'s' if self.count > 1 else ''} "
            f"of {'one GPU and ' if self.gpu else ''}{each} each"
        )


class Cluster:
    """``with Cluster(...)`` connects to a cluster, or starts one on loopback and stops it.

    Args:
        address: as ``ray.init`` takes it; None heeds ``RAY_ADDRESS``, then starts one.
        workers: how many were asked for, or None.

    Raises:
        UserError: when no cluster answers at the address.
    """

    def __init__(self, address: str | None, workers: int | None, verbose: bool) -> None:
        self._address = address or os.environ.get("RAY_ADDRESS")
        self._asked, self._verbose = workers, verbose
        self.own = self._address is None and not ray.is_initialized()
        self._joined = not ray.is_initialized()
        self.scratch = tempfile.mkdtemp(prefix="distgan-ray-")

    def __enter__(self) -> Cluster:
        if self._joined:
            # In a thread of its own Ray leaves our signal handlers alone.
            starter = threading.Thread(target=self._connect)
            starter.start()
            starter.join()
        if not ray.is_initialized():
            shutil.rmtree(self.scratch, ignore_errors=True)
            raise UserError(
                f"--address {self._address}: no Ray cluster answers there ({self._reason}); "
                "start one with `ray start --head`, or leave --address and RAY_ADDRESS out"
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._joined:
            ray.shutdown()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _connect(self) -> None:
        level = logging.INFO if self._verbose else logging.ERROR
        options: dict[str, Any] = {"logging_level": level, "log_to_driver": self._verbose}
        if self.own:
            for name, value in _QUIET.items():
                os.environ.setdefault(name, value)
            options |= {
                "address": "local",
                "num_cpus": max(os.cpu_count() or 1, self._asked or 1),
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
            }
        else:
            options["address"] = self._address
        if not self._verbose:
            logging.getLogger("ray").setLevel(logging.ERROR)
        try:
            ray.init(**options)
        except Exception as error:
            self._reason = str(error).strip().splitlines()[0]

    def workers(self, batch: int) -> Workers:
        """Decide on the workers: every GPU, else one per two cores and at least two of two.

        Raises:
            UserError: when more were asked for than the cluster holds.
        """
        total = ray.cluster_resources()
        gpus, cores = int(total.get("GPU", 0)), int(total.get("CPU", 1))
        default = gpus or max(min(cores, 2), cores // 2)
        count = self._asked or min(default, batch)
        if gpus and count > gpus:
            raise UserError(
                f"--workers {count}: more than the {gpus} GPU{'s' if gpus > 1 else ''} of the "
                f"cluster; use --workers {gpus} or fewer"
            )
        if count > cores:
            raise UserError(
                f"--workers {count}: more than the {cores} CPUs of the cluster; "
                f"use --workers {cores} or fewer"
            )
        return Workers(count, gpu=gpus > 0, threads=_threads(count))

    def trainer_class(self) -> type[TorchTrainer]:
        """`TorchTrainer`, on a cluster of our own without actors that nobody needs there."""
        return _LeanTrainer if self.own else TorchTrainer


def _threads(workers: int) -> int:
    """The most CPUs per worker with which all workers find room on the nodes."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    fits = [size for size in range(1, max(nodes) + 1) if sum(n // size for n in nodes) >= workers]
    return max(fits, default=1)


class _LeanTrainer(TorchTrainer):
    """Leaves out two of Ray Train's callbacks, each of which starts a process.

    One hands out Ray datasets passed to the trainer; ours go to the workers as
    references. The other frees placement groups after the controller's death; a cluster
    of our own dies with its driver.
    """

    _UNUSED = ("DatasetsCallback", "PlacementGroupCleanerCallback")

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [c for c in callbacks if type(c).__name__ not in self._UNUSED]
