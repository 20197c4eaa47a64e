"""The Ray cluster of a run: one that is there, or one of our own for as long as it lasts.

Imports nothing of Ray but its core, so that a cluster starts while the rest is imported.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from dataclasses import dataclass
from typing import Any

import ray

from distgan.errors import UserError


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
    """Connects to a cluster, or starts one on loopback, from the moment it is constructed.

    ``with`` waits until it is there, and at the end leaves or stops it.

    Args:
        address: as ``ray.init`` takes it; None starts a cluster.
        workers: how many were asked for, or None.

    Raises:
        UserError: when no cluster answers at the address.
    """

    def __init__(self, address: str | None, workers: int | None, verbose: bool) -> None:
        self._address, self._asked, self._verbose = address, workers, verbose
        self._joins = not ray.is_initialized()
        self.own = self._joins and address is None
        self._reason = ""
        self._ready, self._over = threading.Event(), threading.Event()
        # Ray installs a signal handler where it can, and its processes die with the thread
        # that started them: a thread that stays leaves our handlers alone.
        self._thread = threading.Thread(target=self._stay_connected, daemon=True)
        self.scratch = tempfile.mkdtemp(prefix="distgan-ray-")
        if self._joins:
            self._thread.start()

    def __enter__(self) -> Cluster:
        if self._joins:
            self._ready.wait()
        if self._reason:
            shutil.rmtree(self.scratch, ignore_errors=True)
            where = f"--address {self._address}" if self._address else "starting Ray here"
            raise UserError(
                f"{where}: no Ray cluster answers ({self._reason}); start one with "
                "`ray start --head`, or leave --address and RAY_ADDRESS out, or use --workers 0"
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._joins:
            self._over.set()
            self._thread.join()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _stay_connected(self) -> None:
        level = logging.INFO if self._verbose else logging.ERROR
        logging.getLogger("ray").setLevel(level)
        options: dict[str, Any] = {"logging_level": level, "log_to_driver": self._verbose}
        if self.own:
            cores = max(os.cpu_count() or 1, self._asked or 1)
            options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
        else:
            options["address"] = self._address
        try:
            ray.init(**options)
        except Exception as error:
            self._reason = str(error).strip().split("\n", 1)[0]
            self._ready.set()
            return
        self._ready.set()
        self._over.wait()
        ray.shutdown()

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


def _threads(workers: int) -> int:
    """The most CPUs per worker with which all workers find room on the nodes."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    fits = [size for size in range(1, max(nodes) + 1) if sum(n // size for n in nodes) >= workers]
    return max(fits, default=1)
