"""Nobody but this machine's loopback reaches what distgan starts, however it was started."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distgan.launch.ray.processes import psutil

pytestmark = [pytest.mark.ray, pytest.mark.slow]

_TRAIN = "train --images 256 --batch 64 --workers {workers} --out run"
_TUNE = "tune mnist-mlp --max-images 4k --samples 2 --num 100 --rung-num 100 --out search"
_PREPARE = "data prepare {source} --shard-size 1 --size 128 --out set"
_EVALUATE = "evaluate run --workers 2 --metrics sliced --num 128"

_API = """
import sys
if sys.argv[1] == "ray":
    import ray
import distgan

def main():
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 256, "batch": 64})
    distgan.train(config, out="api", workers=2)

if __name__ == "__main__":
    main()
"""


class _Seen:
    """What listened and what was there, in all processes that a command started."""

    def __init__(self) -> None:
        self.listeners: dict[tuple[str, int], str] = {}
        self.processes: set[str] = set()
        self.folders: set[str] = set()

    def look(self, process: psutil.Process) -> None:
        for each in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                self.processes.add(each.name())
                for connection in each.net_connections("inet"):
                    # A UDP socket has no state; one that is bound hears whoever sends to it.
                    if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE):
                        where = connection.laddr
                        if where:
                            self.listeners[where.ip, where.port] = each.name()

    @property
    def open(self) -> dict[tuple[str, int], str]:
        return {where: name for where, name in self.listeners.items() if not _is_loopback(where[0])}


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _watch(arguments: list[str], folder: Path, scratch: Path) -> _Seen:
    seen = _Seen()
    scratch.mkdir(exist_ok=True)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(scratch), "HOME": str(home)}
    environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)
    with open(folder / "said", "w") as said:
        command = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, env=environment, stdout=said, stderr=said
        )
        process = psutil.Process(command.pid)
        try:
            while command.poll() is None:
                with contextlib.suppress(psutil.Error):
                    seen.look(process)
                for found in scratch.glob("distgan-*"):
                    with contextlib.suppress(OSError):
                        _only_ours(found)
                time.sleep(0.05)
        finally:
            command.kill()
    assert command.returncode == 0, (folder / "said").read_text()
    assert {"raylet", "gcs_server"} <= seen.processes, "Ray was not seen at all"
    assert len(seen.listeners) > 3
    assert not list(home.rglob("auth_token")), "Ray's token is in the home"
    assert not list(scratch.glob("distgan-*")), "something was left of the cluster"
    return seen


def _only_ours(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    token = folder / "token"
    if token.exists():
        assert stat.S_IMODE(token.stat().st_mode) == 0o600


@pytest.fixture
def scratch() -> Iterator[Path]:
    # The folders of tests are too deep for Unix sockets.
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as folder:
        yield Path(folder)


def test_training_from_python_after_importing_ray(tmp_path: Path, scratch: Path) -> None:
    """Also the rendezvous of two workers, which torch would open to every network."""
    (tmp_path / "script.py").write_text(_API)
    seen = _watch(["script.py", "ray"], tmp_path, scratch)
    assert any("RayTrainWorker" in name for name in seen.processes)
    assert seen.open == {}


@pytest.mark.drill
@pytest.mark.parametrize("workers", [1, 2])
def test_commands_one_after_another(tmp_path: Path, scratch: Path, workers: int) -> None:
    (tmp_path / "script.py").write_text(_API)
    source = _pictures(tmp_path)
    train = _TRAIN.format(workers=workers)
    lines = [train, _EVALUATE, _TUNE, _PREPARE.format(source=source)]
    for line in lines:
        seen = _watch(["-m", "distgan", *line.split()], tmp_path, scratch)
        assert seen.open == {}, line
    assert _watch(["script.py", "plain"], tmp_path, scratch).open == {}


def _pictures(folder: Path) -> str:
    (folder / "pictures").mkdir()
    draws = np.random.default_rng(0)
    for number in range(600):
        pixels = draws.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:03d}.png")
    return "pictures"
