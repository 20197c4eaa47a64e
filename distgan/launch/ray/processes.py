"""Processes of a cluster of our own, which psutil finds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import ray  # noqa: F401 - where psutil is not installed, Ray's own copy is found after this

import psutil as psutil  # isort: skip


def head_is_whole() -> bool:
    """Whether both processes run without which a cluster that this process started is none."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.name())
    return found >= {"raylet", "gcs_server"}


def started_by_raylets() -> list[psutil.Process]:
    """What the raylets that this process has started have started in turn."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.name() == "raylet":
                found += process.children(recursive=True)
    return found


def workers_of_raylets() -> list[psutil.Process]:
    """Of those the ones that work; with one of the others a raylet ends, and its drivers."""
    found = []
    for process in started_by_raylets():
        with contextlib.suppress(psutil.Error):
            if not any("Agent" in word or "agent" in word for word in process.cmdline()):
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process]) -> None:
    """End those that are still there."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def halt(processes: Iterable[psutil.Process]) -> None:
    """Have them do nothing more until they are ended."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.suspend()


def working_in(folder: str) -> list[psutil.Process]:
    """What this process has started whose command names a folder of its own; raylets last."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(folder in word for word in process.cmdline()):
                found.append(process)
    return sorted(found, key=_is_raylet)


def _is_raylet(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.name() == "raylet")
    return False
