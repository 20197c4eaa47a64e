"""A stop while Ray or its workers start: every verb ends soon, with the signal's status."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import distgan
from distgan.launch.ray.processes import psutil
from distgan.launch.signals import StopRequest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

_SECONDS = float(os.environ.get("DISTGAN_TEST_STOP_SECONDS", "10"))
"""From the signal to the end. A quiet machine takes less than 5; others run tests beside these."""

_API = """
import distgan, sys
def main():
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 10**9})
    result = distgan.train(config, out=sys.argv[1], workers=2)
    sys.exit({"SIGINT": 130, "SIGTERM": 143}[result.stopped])
if __name__ == "__main__":
    main()
"""
VERBS = {
    "train": "-m distgan train --images 1G --workers 2 --out train-{moment}",
    "evaluate": "-m distgan evaluate run --workers 2 --metrics sliced --num 128",
    "prepare": "-m distgan data prepare pictures --shard-size 1 --size 128 --out set",
    "tune": "-m distgan tune mnist-mlp --max-images 4k --samples 2 --num 100 --out search-{moment}",
    "API": "script.py {moment}",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stops")
    config = distgan.override(distgan.recipe("mnist-mlp-tutorial"), {"images": 256, "batch": 64})
    distgan.train(config, out=str(folder / "run"), workers=0)
    (folder / "script.py").write_text(_API)
    (folder / "pictures").mkdir()
    draws = np.random.default_rng(0)
    for number in range(600):
        pixels = draws.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:03d}.png")
    return folder


def _wait_for(process: psutil.Process, names: tuple[str, ...], command: subprocess.Popen) -> None:  # type: ignore[type-arg]
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert command.poll() is None, "ended before it was asked to"
        with contextlib.suppress(psutil.Error):
            if any(child.name().startswith(names) for child in process.children(recursive=True)):
                return
        time.sleep(0.02)
    pytest.fail(f"none of {names} was started")


@pytest.mark.parametrize("moment", ["gcs_server", "raylet"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_stop_while_ray_starts(place: Path, verb: str, moment: str) -> None:
    number = signal.SIGINT if moment == "raylet" else signal.SIGTERM
    with tempfile.TemporaryDirectory(prefix="t", dir="/tmp") as scratch:
        command = subprocess.Popen(
            [sys.executable, *VERBS[verb].format(moment=moment).split()],
            cwd=place,
            env={**os.environ, "TMPDIR": scratch},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # A shell has the tests ignore SIGINT when it runs them in its background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        process = psutil.Process(command.pid)
        try:
            _wait_for(process, (moment,), command)
            started = process.children(recursive=True)
            start = time.monotonic()
            command.send_signal(number)
            said, _ = command.communicate(timeout=60)
            seconds = time.monotonic() - start
        finally:
            command.kill()
        _, alive = psutil.wait_procs(started, timeout=5)
        assert not alive
        print(f"{verb}, {moment}: {seconds:.1f} s")
        assert command.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
        assert "Traceback" not in said
        assert "SIGABRT" not in said
        # In a process that goes on, Ray's start is not broken off: Ray would end it.
        assert seconds < (60 if verb == "API" else _SECONDS)
    assert not list((place / "set").glob("*")) if verb == "prepare" else True


def test_how_a_request_ends_a_call() -> None:
    stop = StopRequest()
    stop.name = "SIGINT"
    with pytest.raises(KeyboardInterrupt):
        stop.leave()
    stop.name = "SIGTERM"
    with pytest.raises(SystemExit) as found:
        stop.leave()
    assert found.value.code == 143
