"""The Ray cluster of a run: one that is there, or one of our own for as long as it lasts.

Imports nothing of Ray but its core, so that a cluster starts while the rest is imported.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import ray

from distgan.errors import UserError, first_line, printable
from distgan.launch.ray import private, scaling
from distgan.launch.ray.address import is_here
from distgan.launch.ray.environment import authentication, on_loopback, token_is_at_hand
from distgan.launch.ray.imports import refuse_hidden
from distgan.launch.ray.priority import make_attendants_give_way
from distgan.launch.ray.processes import (
    end,
    halt,
    head_is_whole,
    started_by_raylets,
    workers_of_raylets,
    working_in,
)
from distgan.launch.ray.workers import Asked, Device, Node, Workers, cores_for, decide
from distgan.launch.signals import EXIT_CODES, StopRequest
from distgan.storage import machine
from distgan.storage.scratch import Scratch

_STORE_SHARE = 0.3
"""Of a node's memory, that Ray's object store takes by default."""


T = TypeVar("T")

_TOKEN = secrets.token_hex(32)
"""What the processes of our clusters ask one another for; Ray's core keeps the first it reads."""

_SECONDS_TO_JOIN = 18.0
"""With `address.SECONDS_TO_ANSWER` and those to leave less than half a minute."""
_SECONDS_TO_LEAVE = 3.0
_LONGEST = (103 if sys.platform == "darwin" else 107) - len(
    "/ray/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
)
"""Bytes of the scratch folder's path, below which Ray's sockets lie; the systems' limits."""


_ROOM = 50_000_000
"""Bytes that Ray's logs and sockets want; without them its start hangs instead of failing."""


class StartStoppedError(Exception):
    """A stop was asked for before the cluster was there."""


class NoClusterError(UserError):
    """No cluster can be joined or started."""


class Cluster:
    """Connects to a cluster, or starts one on loopback, from the moment it is constructed.

    ``with`` waits until it is there, and at the end leaves or stops it.

    Args:
        address: as ``ray.init`` takes it; None starts a cluster.
        workers: how many were asked for, or None.
        stop: ends the wait for the cluster.

    Raises:
        UserError: for more workers than this machine can be asked for.
        NoClusterError: in ``with``, when no cluster answers at the address or starts here.
        StartStoppedError: in ``with``, when a stop was asked for meanwhile.
    """

    def __init__(
        self,
        address: str | None,
        workers: Asked,
        verbose: bool,
        stop: StopRequest | None = None,
    ) -> None:
        self._address, self._asked, self._verbose = address, workers, verbose
        # Who follows the cluster's size asks an actor how large it is.
        self._elastic = isinstance(workers, tuple)
        self._joins = not ray.is_initialized()
        self.own = self._joins and address is None
        self._stop = stop
        self._cores = cores_for(workers, machine.cores()) if self.own else 0
        self._reason, self._settled = "", False
        self._ready, self._over = threading.Event(), threading.Event()
        # Ray installs a signal handler where it can, and its processes die with the thread
        # that started them: a thread that stays leaves our handlers alone.
        self._thread = threading.Thread(target=self._stay_connected, daemon=True)
        self._scratch = Scratch("distgan-", _LONGEST if self.own else None)
        self.scratch = self._scratch.path
        if self.own and (free := shutil.disk_usage(self.scratch).free) < _ROOM:
            self._scratch.close()
            raise NoClusterError(
                f"TMPDIR: {Path(self.scratch).parent} has room for {free / 1e6:,.0f} MB, and Ray "
                f"needs {_ROOM / 1e6:,.0f} MB there; free some, or set TMPDIR to another folder"
            )
        self.shared = self.scratch if self.own else ""
        """The scratch folder where all workers see it, else empty."""
        self.when_over: Callable[[], object] = lambda: None
        """Called at the end of a cluster of our own, when none of its workers writes any more."""
        if self._joins:
            self._thread.start()

    def __enter__(self) -> Cluster:
        try:
            self._wait()
        except BaseException:
            self._leave()
            raise
        return self

    def _wait(self) -> None:
        deadline = time.monotonic() + _SECONDS_TO_JOIN
        while self._joins and not self._ready.wait(0.02):
            if self._stop is not None:
                # As soon as Ray takes the signals; its handler would abort the process.
                self._stop.install()
                if self._stop.name and (self.breaks_off or not self.own):
                    raise StartStoppedError
            if not self.own and time.monotonic() > deadline:
                self._reason = f"silent for {_SECONDS_TO_JOIN:.0f} s"
                break
        if self._reason and self.own:
            raise NoClusterError(
                f"Ray does not start here ({self._reason}); see whether {self.scratch} has room "
                "(TMPDIR names its place) and -v for what Ray says, or use --workers 0"
            )
        if self._reason:
            address = printable(self._address or "")
            raise NoClusterError(
                f"--address {address}: no Ray cluster answers ({self._reason}); start one with "
                "`ray start --head`, or leave --address and RAY_ADDRESS out, or use --workers 0"
            )
        if self._stop is not None:
            self._stop.install()
            if self._stop.name:
                raise StartStoppedError

    def unless_stopped(self, work: Callable[[], T]) -> T:
        """What a function returns or raises that keeps its thread waiting for the cluster.

        Raises:
            StartStoppedError: when a stop was asked for before it was done.
        """
        done: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                done.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            if self._stop is not None and self._stop.name:
                deadline = time.monotonic() + _SECONDS_TO_LEAVE
                while (
                    self.own
                    and not self.breaks_off
                    and thread.is_alive()
                    and time.monotonic() < deadline
                ):
                    # Whoever waits for what these would make hears that there will be nothing.
                    end(workers_of_raylets())
                    thread.join(0.2)
                raise StartStoppedError
        for error in errors:
            if self.own and self._stop is not None and self._stop.name:
                # The same signal may have ended what it asked.
                raise StartStoppedError from error
            raise error
        return done[0]

    def __exit__(self, *_: object) -> None:
        self._leave()

    @property
    def breaks_off(self) -> bool:
        """Whether this process ends before training ran, with a cluster of its own.

        Ray would have its start, or that of the workers, finished before it ends. It also waits
        for a minute for a head that a signal to the whole process group has ended.
        """
        stop = self._stop
        ends = stop is not None and stop.ends_process and bool(stop.name)
        return ends and self.own and (not self._settled or self.is_lost)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else has ended a cluster of our own, with its workers."""
        return self.own and self._ready.is_set() and not head_is_whole()

    def _leave(self) -> None:
        if self.breaks_off and self._stop is not None:
            # Before what Ray does at the end of a process.
            atexit.register(self._break_off, EXIT_CODES.get(self._stop.name, 1))
            return
        self._over.set()
        if self._joins:
            # One of our own has to be over; one that does not answer never may be.
            self._thread.join(None if self.own or self._ready.is_set() else _SECONDS_TO_LEAVE)
        if self.own:
            self.when_over()
        self._scratch.close()

    def _break_off(self, status: int) -> None:
        # Ray ends a driver whose raylet is gone, with a status of its own: they stand still until
        # all else is done, and the raylet comes last.
        processes = started_by_raylets() + working_in(self.scratch)
        halt(processes)
        self.when_over()
        self._scratch.close()
        sys.stdout.flush()
        sys.stderr.flush()
        end(processes)
        os._exit(status)

    def _stay_connected(self) -> None:
        level = logging.INFO if self._verbose else logging.ERROR
        logging.getLogger("ray").setLevel(level)
        complains = logging.raiseExceptions
        if not self._verbose:
            # A log file on a full disk is no news, and never with a traceback.
            logging.raiseExceptions = False
        options = {"logging_level": level, "log_to_driver": self._verbose}
        try:
            with self._quiet(), self._surroundings() as place:
                ray.init(**options, **place)
                self._ready.set()
                self._over.wait()
                started = started_by_raylets() if self.own else []
                ray.shutdown(wait_for_processes=self.own)
                # A trial's controller may hang on its way out (Ray Train 2.60), and stay for good.
                end(started)
        except Exception as error:
            self._reason = first_line(error)
            # Where the start failed half-way, Ray knows nothing of what it has started.
            end(working_in(self.scratch) if self.own else [])
        finally:
            logging.raiseExceptions = complains
            self._ready.set()

    def _quiet(self) -> contextlib.AbstractContextManager[None]:
        if self._verbose or not private.usable():
            return contextlib.nullcontext()
        from distgan.launch.ray.private.core import without_prints

        return without_prints()

    @contextlib.contextmanager
    def _surroundings(self) -> Iterator[dict[str, Any]]:
        """What ``ray.init`` needs to know, and what has to hold as long as it lasts."""
        job: dict[str, Any] = {}
        if private.usable():
            from distgan.launch.ray.private.core import SamePackage

            job["job_config"] = SamePackage()
        else:
            refuse_hidden()
        if not self.own:
            here = self._address is not None and is_here(self._address)
            # Ray itself looks for a token only where it looks for the cluster too.
            changes = {"RAY_AUTH_MODE": "token"} if here and token_is_at_hand() else {}
            with authentication(changes):
                yield {"address": self._address, **job}
            return
        token = Path(self.scratch) / "token"
        token.touch(0o600)
        token.write_text(_TOKEN)
        with on_loopback(str(token), self.scratch):
            yield {
                "address": "local",
                "num_cpus": self._cores,
                "num_gpus": _gpus_here(),
                "include_dashboard": False,
                **job,
            }

    def end_in_order(self) -> None:
        """From now on a stop waits for Ray's own end, as what works here has to be put away."""
        self._settled = True

    def settle(self, reads_on: bool) -> None:
        """Once training runs on a cluster of our own, end what only its start needed.

        What stays gives way to the workers.

        Args:
            reads_on: Ray Data goes on reading, and needs its actors.
        """
        self._settled = True
        if not self.own:
            return
        if private.usable():
            from distgan.launch.ray.private.core import end_actors_for_reading, end_helpers

            if not (reads_on or self._elastic):
                end_actors_for_reading()
            end_helpers(log_monitor=not self._verbose)
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

    def workers(
        self,
        device: Device,
        batch: int,
        threads: int | None = None,
        note: Callable[[str], object] = lambda text: None,
    ) -> Workers:
        """Decide on the workers by what the cluster holds; see `decide`.

        Where the cluster starts machines on demand, those are waited for.

        Args:
            note: takes a line for the user while it waits.

        Raises:
            UserError: when it holds less than was asked for, and never will hold it.
            StartStoppedError: when a stop was asked for meanwhile.
        """
        device = self.grow(self._asked, device, threads, note)
        return decide(self._asked, device, self._nodes(), batch, threads, grows=not self.own)

    def grow(
        self,
        asked: Asked,
        device: Device,
        threads: int | None = None,
        note: Callable[[str], object] = lambda text: None,
    ) -> Device:
        """Wait for machines that are missing and may come; the kind of device that is meant.

        Raises:
            UserError: as `distgan.launch.ray.scaling.wanted`.
            StartStoppedError: when a stop was asked for meanwhile.
        """
        may = None if self.own else scaling.growth()
        if may is None:
            return device
        found = scaling.wanted(asked, device, self._nodes(), may, threads)
        stopped = lambda: self._stop is not None and bool(self._stop.name)  # noqa: E731
        self.unless_stopped(lambda: scaling.wait_for(found.bundles, note, stopped))
        return found.device

    def _nodes(self) -> list[Node]:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        # Ray counts GPUs by their driver, also those that this torch cannot use.
        most = _gpus_here() if self.own else sys.maxsize
        return [Node(int(has.get("CPU", 0)), min(int(has.get("GPU", 0)), most)) for has in alive]


def _gpus_here() -> int:
    # Whoever has not imported torch has no use for them.
    torch = sys.modules.get("torch")
    return 0 if torch is None else int(torch.cuda.device_count())
