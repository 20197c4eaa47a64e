"""What writers that were killed half-way leave in a run's folder, and who clears it away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from distgan import launch
from distgan.config.settings import override
from distgan.launch import start
from distgan.launch.ray import cluster
from distgan.launch.signals import StopRequest
from distgan.recipes import recipe
from distgan.runs.log import LOG
from distgan.runs.recovery import clear_unfinished
from distgan.storage.ownership import Ownership
from distgan.storage.storage import OWNER, Storage

pytestmark = pytest.mark.alone

HALF = """
import sys, time
from distgan.storage.storage import Storage
def write(stream):
    stream.write(b"half")
    stream.flush()
    print("writing", flush=True)
    time.sleep(60)
Storage(sys.argv[1]).write(sys.argv[2], write)
"""


def kill_writer(folder: Path, name: str) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", HALF, str(folder), name], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"
    writer.kill()
    writer.wait()


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.slow
def test_what_killed_writers_left_is_cleared(tmp_path: Path) -> None:
    run = tmp_path / "run"
    whole = ["metrics.jsonl", "my.tmp", OWNER, "samples/a.png"]
    with Ownership(Storage(run), "training") as owner:
        owned = owner.claim()
        for name in ("metrics.jsonl", "my.tmp", "samples/a.png"):
            owned.write(name, "whole")
        for name in ("metrics.jsonl", "checkpoints/a.pt", "samples/b.png"):
            kill_writer(run, name)
        assert sum(name.endswith(".tmp") for name in names(run)) == 4
        clear_unfinished(owned)
    assert names(run) == sorted(whole)
    with Ownership(Storage(run), "training") as owner:
        owner.claim()
        kill_writer(run, "metrics.jsonl")
        # Of another owner, whose writer might live.
        clear_unfinished(owned)
    assert len(names(run)) == len(whole) + 1


@pytest.mark.parametrize("ends_process", [True, False])
def test_a_cluster_of_our_own_says_when_its_workers_write_no_more(
    monkeypatch: pytest.MonkeyPatch, ends_process: bool
) -> None:
    done: list[str] = []
    monkeypatch.setattr(cluster.Cluster, "_stay_connected", lambda self: self._ready.set())
    monkeypatch.setattr(cluster.atexit, "register", lambda f, status: f(status))
    monkeypatch.setattr(cluster, "halt", lambda processes: done.append("halted"))
    monkeypatch.setattr(cluster, "end", lambda processes: done.append("ended"))
    monkeypatch.setattr(cluster.os, "_exit", lambda status: done.append(f"exit {status}"))
    stop = StopRequest()
    stop.ends_process = ends_process
    monkeypatch.setattr(stop, "install", lambda: None)
    with cluster.Cluster(None, 1, verbose=False, stop=stop) as ours:
        ours.when_over = lambda: done.append("over")
        stop.name = "SIGTERM"
    if ends_process:
        assert done == ["halted", "over", "ended", "exit 143"]
    else:
        assert done == ["over"]
    assert not Path(ours.scratch).exists()


def test_a_run_that_is_stopped_while_it_starts_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, cleared = tmp_path / "run", []

    class Stopped:
        """A cluster whose workers were killed while one of them wrote."""

        when_over: Callable[[], object]

        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> None:
            for name in ("checkpoints/.index.json.17.tmp", ".environment.json.17.tmp"):
                (run / name).parent.mkdir(exist_ok=True)
                (run / name).write_bytes(b"half")
            self.when_over()
            cleared.append(names(run))
            raise cluster.StartStoppedError

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(cluster, "Cluster", Stopped)
    monkeypatch.setattr(start.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    stop = StopRequest()
    monkeypatch.setattr(stop, "install", lambda: None)
    config = override(recipe("mnist-mlp-tutorial"), {"batch": 64, "images": 64})
    launch.train(config, out=str(run), workers=1, device="cpu", stop=stop)
    assert cleared == [[".lock", "config.yaml", "data.json", OWNER, LOG]]
