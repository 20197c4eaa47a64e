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

from distgan.launch.ray.processes import psutil

_ATTENDANTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "gcs_server")
"""Processes of Ray that only wait while training runs, and of which no worker is a child."""


def give_way(threads: Iterable[int]) -> None:
    """Let threads, by their ids, and what they start run only where no other wants to.

    On Linux only. Without privileges there is no way back.
    """
    if hasattr(os, "SCHED_IDLE"):
        for thread in threads:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def make_others_give_way() -> None:
    """Let all other threads of this process that there are now give way."""
    threads = psutil.Process().threads()
    give_way(thread.id for thread in threads if thread.id != threading.get_native_id())


def make_attendants_give_way() -> None:
    """Let the processes of a cluster that this one started give way to its workers."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(name in part for part in process.cmdline()[:1] for name in _ATTENDANTS):
                give_way(thread.id for thread in process.threads())
