"""`distgan clean` leaves alone what a living process is writing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distgan.data.sources import named
from distgan.data.sources.named import Download
from distgan.errors import UserError
from distgan.storage import clean
from distgan.storage.in_use import SECONDS_TO_WRITE, in_use

CONTENT = bytes(range(256)) * 4096
LONG_AGO = time.time() - 10 * SECONDS_TO_WRITE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "distgan"


@pytest.fixture
def half_sent() -> Iterator[tuple[str, threading.Event]]:
    """A server on loopback that sends half of a file, and the rest once it is told to."""
    on = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: len(CONTENT) // 2])
            self.wfile.flush()
            on.wait(20)
            self.wfile.write(CONTENT[len(CONTENT) // 2 :])

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", on
    on.set()
    server.shutdown()
    server.server_close()


def listed() -> list[str]:
    return [leftover.path.name for leftover in clean.find()]


def test_a_download_that_goes_on_is_left_alone(
    cache: Path, half_sent: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, on = half_sent
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(named.NAMED, "small", Download(url, {"a.bin": md5}))
    (cache / "statistics").mkdir(parents=True)
    (cache / "statistics" / "one").touch()
    begun = threading.Event()
    thread = threading.Thread(target=named.fetch, args=("small", lambda *_: begun.set()))
    thread.start()
    assert begun.wait(20)
    (partial,) = (cache / "small").iterdir()
    # Also one that stands still for long.
    os.utime(partial, (LONG_AGO, LONG_AGO))
    assert listed() == ["statistics"]
    with pytest.raises(UserError, match="small: is in use by now, and stays"):
        clean.remove(clean.Leftover(cache / "small", "download", 0))
    on.set()
    thread.join()
    assert (cache / "small" / "a.bin").read_bytes() == CONTENT
    assert listed() == ["small", "statistics"]
    for leftover in clean.find():
        clean.remove(leftover)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("name", ["weights.pth.0a1b.partial", ".one.safetensors.17.tmp"])
def test_without_a_lock_the_age_tells(cache: Path, name: str) -> None:
    (cache / "features").mkdir(parents=True)
    half = cache / "features" / name
    half.touch()
    assert listed() == []
    os.utime(half, (LONG_AGO, LONG_AGO))
    assert listed() == ["features"]


@pytest.mark.slow
def test_a_killed_process_uses_nothing(cache: Path) -> None:
    code = "import sys, time; from pathlib import Path; from distgan.storage.in_use import in_use\n"
    code += "with in_use(Path(sys.argv[1])): print('in use', flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(cache / "mnist")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in use\n"
    assert listed() == []
    process.kill()
    process.wait()
    assert listed() == ["mnist"]


def test_a_folder_that_is_removed_meanwhile_is_made_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, real = [], os.open

    def removed(path: Path, *flags: int) -> int:
        handle = real(path, *flags)
        if not opened:
            path.rmdir()
        opened.append(handle)
        return handle

    with monkeypatch.context() as patch:
        patch.setattr("distgan.storage.in_use.os.open", removed)
        with in_use(cache / "mnist"):
            assert len(opened) == 2
            assert (cache / "mnist").is_dir()


def test_an_old_file_of_a_living_writer_stays(tmp_path: Path, cache: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    run = tmp_path / "run"
    run.mkdir()
    for number in (os.getpid(), ended.pid):
        (run / f".config.yaml.{number}.tmp").touch()
        os.utime(run / f".config.yaml.{number}.tmp", (LONG_AGO, LONG_AGO))
    found = [leftover.path.name for leftover in clean.find([str(run)])]
    assert found == [f".config.yaml.{ended.pid}.tmp"]
