"""The Ray cluster of a run: one that is there, or one of our own for as long as it lasts.

Imports nothing of Ray but its core, so that a cluster starts while the rest is imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import Any

import ray

from distgan.errors import UserError
from distgan.launch.leftovers import end, started_by_raylets
from distgan.launch.priority import make_attendants_give_way
from distgan.launch.workers import Asked, Device, Node, Workers, decide, most_of
from distgan.scratch import Scratch

_FOR_READING = (
    ("datasets_stats_actor", "_dataset_stats_actor"),
    ("AutoscalingCoordinator", "AutoscalingCoordinator"),
)
"""Names and namespaces of actors: Ray Data's statistics, and requests for more nodes."""

_STORE_SHARE = 0.3
"""Of a node's memory, that Ray's object store takes by default."""


class Cluster:
    """Connects to a cluster, or starts one on loopback, from the moment it is constructed.

    ``with`` waits until it is there, and at the end leaves or stops it.

    Args:
        address: as ``ray.init`` takes it; None starts a cluster.
        workers: how many were asked for, or None.

    Raises:
        UserError: when no cluster answers at the address.
    """

    def __init__(self, address: str | None, workers: Asked, verbose: bool) -> None:
        self._address, self._asked, self._verbose = address, workers, verbose
        # Who follows the cluster's size asks an actor how large it is.
        self._elastic = isinstance(workers, tuple)
        self._joins = not ray.is_initialized()
        self.own = self._joins and address is None
        self._reason = ""
        self._ready, self._over = threading.Event(), threading.Event()
        # Ray installs a signal handler where it can, and its processes die with the thread
        # that started them: a thread that stays leaves our handlers alone.
        self._thread = threading.Thread(target=self._stay_connected, daemon=True)
        self._scratch = Scratch("distgan-ray-")
        self.scratch = self._scratch.path
        if self._joins:
            self._thread.start()

    def __enter__(self) -> Cluster:
        if self._joins:
            self._ready.wait()
        if self._reason:
            self._scratch.close()
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
        self._scratch.close()

    def _stay_connected(self) -> None:
        level = logging.INFO if self._verbose else logging.ERROR
        logging.getLogger("ray").setLevel(level)
        options: dict[str, Any] = {"logging_level": level, "log_to_driver": self._verbose}
        if self.own:
            cores = max(os.cpu_count() or 1, most_of(self._asked))
            options |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
        else:
            options["address"] = self._address
        show = ray._private.worker.print_to_stdstream
        if not self._verbose:
            # Ray prints every death of a process for the user; ours are told in one line.
            ray._private.worker.print_to_stdstream = lambda *_, **__: None
        try:
            ray.init(**options)
        except Exception as error:
            self._reason = str(error).strip().split("\n", 1)[0]
            ray._private.worker.print_to_stdstream = show
            self._ready.set()
            return
        self._ready.set()
        self._over.wait()
        started = started_by_raylets() if self.own else []
        ray.shutdown()
        # A trial's controller may hang on its way out (Ray Train 2.60), and stay for good.
        end(started)
        ray._private.worker.print_to_stdstream = show

    def settle(self, reads_on: bool) -> None:
        """Once training runs on a cluster of our own, end what only its start needed.

        What stays gives way to the workers.

        Args:
            reads_on: Ray Data goes on reading, and needs its actors.
        """
        if not self.own:
            return
        for name, namespace in () if reads_on or self._elastic else _FOR_READING:
            with contextlib.suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace))
        if (node := ray._private.worker._global_node) is not None:
            # The autoscaler, and the dashboard's process, which is there also without one.
            node.kill_monitor(check_alive=False)
            node.kill_dashboard(check_alive=False)
            if not self._verbose:
                node.kill_log_monitor(check_alive=False)
        make_attendants_give_way()

    def memory(self) -> int | None:
        """Bytes of memory of its smallest node that may hold workers; None where none says."""
        found = []
        for has in (node["Resources"] for node in ray.nodes() if node["Alive"]):
            if has.get("memory") and (has.get("CPU") or has.get("GPU")):
                store = has.get("object_store_memory", 0)
                # A resident set lies in Ray's store, which is 0.3 of memory unless told otherwise.
                found.append(int(min(has["memory"] + store, store / _STORE_SHARE)))
        return min(found, default=None)

    def workers(self, device: Device, batch: int, threads: int | None = None) -> Workers:
        """Decide on the workers by what the cluster holds; see `decide`.

        Raises:
            UserError: when it holds less than was asked for.
        """
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [Node(int(has.get("CPU", 0)), int(has.get("GPU", 0))) for has in alive]
        return decide(self._asked, device, nodes, batch, threads, grows=not self.own)
