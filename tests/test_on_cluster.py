"""Jobs on a cluster of several nodes, sent from a machine that is none of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from distgan.runs import records
from distgan.storage.storage import Storage

from .conftest import command
from .drill_nodes import Nodes, may_have_nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

TRAIN = ("train", "mnist-dcgan", "--workers", "2", "--batch", "32", "--images", "1M")
TRAIN += ("--generator.network.width", "8", "--discriminator.network.width", "8")
TRAIN += ("--output.log_every", "32")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head with a job server and two nodes."""
    pytest.importorskip("aiohttp_cors")
    if not may_have_nodes():
        pytest.skip("may not make network namespaces")
    with Nodes(2, dashboard=True) as found:
        deadline = time.monotonic() + 120
        while True:
            try:
                urlopen(f"{found.dashboard_url}/api/version", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the job server does not answer"
                time.sleep(0.5)
        yield found


def start(nodes: Nodes, folder: Path, *words: str) -> subprocess.Popen[str]:
    """`distgan` on this machine, as a user runs it."""
    return subprocess.Popen(
        command(*words),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "RAY_API_SERVER_ADDRESS": nodes.dashboard_url},
    )


def said(nodes: Nodes, folder: Path, *words: str, status: int = 0) -> str:
    process = start(nodes, folder, *words)
    found, _ = process.communicate(timeout=240)
    assert process.returncode == status, found
    return found


def images_seen(run: Path) -> int:
    found = records.read(Storage(str(run))) if (run / records.METRICS).exists() else []
    return max((record["images"] for record in found), default=0)


@pytest.mark.drill
def test_submit_status_stop_and_go_on(nodes: Nodes, tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = time.monotonic()
    followed = start(
        nodes, elsewhere, "submit", "--follow", "--name", "one", "--", *TRAIN, "--out", str(run)
    )
    while not images_seen(run):
        assert followed.poll() is None, followed.communicate()[0]
        assert time.monotonic() < before + 180, said(nodes, elsewhere, "logs", "one")
        time.sleep(0.1)
    print(f"from submit to the first update: {time.monotonic() - before:.1f} s")
    assert "one  RUNNING" in said(nodes, elsewhere, "status", "one")
    assert "train mnist-dcgan" in said(nodes, elsewhere, "jobs")
    assert "mnist-dcgan on mnist" in said(nodes, elsewhere, "logs", "one")
    taken = ("submit", "--name", "one", "--", *TRAIN, "--out", str(run))
    assert "taken by a job" in said(nodes, elsewhere, *taken, status=2)

    stopped = said(nodes, elsewhere, "stop", "one")
    assert "one  STOPPED" in stopped
    assert f"-- train --resume {run}" in stopped
    followed_text, _ = followed.communicate(timeout=60)
    assert followed.returncode == 143
    assert "MiB" in followed_text
    assert "a checkpoint is written" in followed_text
    seen = images_seen(run)
    on = ("submit", "--follow", "--", "train", "--resume", str(run), "--images", str(seen + 3200))
    finished = said(nodes, elsewhere, *on)
    assert f"going on from {seen:,} images" in finished
    assert "SUCCEEDED" in finished
    assert images_seen(run) >= seen + 3200
    assert not list(elsewhere.iterdir())


@pytest.mark.drill
def test_ctrl_c_detaches(nodes: Nodes, tmp_path: Path) -> None:
    words = ("submit", "--follow", "--name", "two", "--", *TRAIN, "--out", str(tmp_path / "run"))
    followed = start(nodes, tmp_path, *words)
    assert followed.stdout is not None
    for line in followed.stdout:
        if "mnist-dcgan on mnist" in line:
            break
    followed.send_signal(signal.SIGINT)
    left, _ = followed.communicate(timeout=60)
    assert followed.returncode == 130, left
    assert "two goes on without you" in left
    assert "two  RUNNING" in said(nodes, tmp_path, "status", "two")
    assert "STOPPED" in said(nodes, tmp_path, "stop", "two")


def test_job_server_listens_on_loopback_unless_told(tmp_path: Path) -> None:
    """Of a head whose start says nothing of it."""
    pytest.importorskip("aiohttp_cors")
    if not may_have_nodes():
        pytest.skip("may not make network namespaces")
    with Nodes(0, dashboard=True, dashboard_host=None) as alone:
        inside = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8265/api/version')"
        inside += ".status)"
        deadline = time.monotonic() + 120
        while "200" not in alone.output(0, "python", "-c", inside):
            assert time.monotonic() < deadline
            time.sleep(0.5)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((alone.host, 8265), timeout=5)
