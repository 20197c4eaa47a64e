"""What tests share: real data, the command line in a process, one Ray cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of their own would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from . import forks

Run = Callable[..., subprocess.CompletedProcess[str]]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell has programs that it starts in the background ignore Ctrl-C, and theirs too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data that DISTGAN_TEST_DATA names."""
    folder = os.environ.get("DISTGAN_TEST_DATA")
    if not folder:
        pytest.skip("DISTGAN_TEST_DATA is not set: tests on the original data files are skipped")
    return Path(folder)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What distgan keeps between runs, apart from the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "distgan", *arguments]


@pytest.fixture
def distgan(tmp_path: Path) -> Run:
    """Runs `distgan` as a user would, in a process of its own, in an empty folder."""

    def run(
        *arguments: str, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        everything = {**os.environ, "COLUMNS": "200", **environment}
        return forks.run(arguments, tmp_path, timeout, everything)

    return run


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The address of a Ray cluster of three CPUs, shared by all tests that need one."""
    from distgan.launch.ray.environment import prepare_own_cluster

    prepare_own_cluster()
    import ray

    context = ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield context.address_info["address"]
    # A thread of Ray Data's that lets go of a block after the shutdown would end this process
    # there, with status 1 and no word (Ray 2.60).
    for thread in threading.enumerate():
        if thread.name.startswith(("iter_threaded", "StreamingExecutor")):
            thread.join(timeout=30)
    from distgan.launch.ray.processes import end, started_by_raylets

    started = started_by_raylets()
    ray.shutdown()
    end(started)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Drills, and tests that start commands or use a cluster, are slow.

    Drills, because `-m "not slow"` replaces the option that leaves them out.
    """
    for item in items:
        uses = set(getattr(item, "fixturenames", ()))
        if uses & {"distgan", "cluster", "trained"} or item.get_closest_marker("ray"):
            item.add_marker("alone")
            item.add_marker("slow")
        if item.get_closest_marker("drill"):
            item.add_marker("slow")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What drills found, as a table."""
    from .drills import TABLE

    if TABLE:
        head = ("drill", "restarts", "s without progress", "images repeated", "s in all", "images")
        terminalreporter.section("drills")
        for row in (head, *TABLE):
            terminalreporter.line(f"{row[0]:<40}" + "".join(f"{cell:>20}" for cell in row[1:]))
