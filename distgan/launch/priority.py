"""Who waits for whom when there are as many busy threads as cores.

Ray's processes wake about a hundred times a second to see whether there is anything to do. A
step is divided among threads that wait for the slowest, so each such moment costs it twice.
Linux has a class of threads that take no core from others: SCHED_IDLE.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable

import psutil  # Ray brings it.

_ATTENDANTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "gcs_server")
"""Processes of Ray that only wait while training runs."""
_RAYLET = "raylet/raylet"
"""Hands out processes and objects, both of which streamed images need all the time."""


def give_way(threads: Iterable[int]) -> None:
    """Let threads, by their ids, run only where no other wants to; on Linux only.

    What they start later does not.
    """
    if hasattr(os, "SCHED_IDLE"):
        policy = os.SCHED_IDLE | os.SCHED_RESET_ON_FORK
        for thread in threads:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(thread, policy, os.sched_param(0))


def make_others_give_way() -> None:
    """Let all other threads of this process that there are now give way."""
    threads = psutil.Process().threads()
    give_way(thread.id for thread in threads if thread.id != threading.get_native_id())


def make_attendants_give_way(reads_on: bool) -> None:
    """Let the processes of a cluster that this one started give way to its workers.

    Args:
        reads_on: images are streamed.
    """
    names = _ATTENDANTS if reads_on else (*_ATTENDANTS, _RAYLET)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(name in part for part in process.cmdline()[:1] for name in names):
                give_way(thread.id for thread in process.threads())
