"""What distgan finds around it: cores, temporary folders, addresses, folders of its name."""

from __future__ import annotations

import multiprocessing
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distgan.errors import UserError
from distgan.launch.ray.address import check_address, cluster_address, is_here
from distgan.launch.ray.environment import prepare_own_cluster
from distgan.launch.ray.imports import import_paths
from distgan.launch.ray.workers import cores_for
from distgan.storage import clean, machine
from distgan.storage.scratch import Scratch, abandoned

from .conftest import Run, command

pytestmark = pytest.mark.alone


def test_cores_are_those_that_the_process_is_bound_to() -> None:
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from distgan.storage import machine; print(machine.cores())"
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "1"


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/job/a\n", {"job/a/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/a\n", {"job/a/cpu.max": "max 100000", "job/cpu.max": "200000 100000"}, 2),
        # A container that sees its own group as the root.
        ("0::/somewhere/else\n", {"cpu.max": "50000 100000"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000"}, float("inf")),
        (
            "3:cpu,cpuacct:/a\n1:memory:/b\n0::/\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000", "cpu,cpuacct/a/cpu.cfs_period_us": "1e5"},
            float("inf"),
        ),
        (
            "3:cpu,cpuacct:/a\n0::/\n",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            "3:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
            float("inf"),
        ),
        ("", {}, float("inf")),
    ],
)
def test_quota(tmp_path: Path, membership: str, files: dict[str, str], cores: float) -> None:
    """The numbers as the kernel's documentation of cgroups writes them."""
    (tmp_path / "cgroup").write_text(membership)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert machine.quota(tmp_path / "cgroup", tmp_path / "fs") == cores


def test_a_quota_below_one_core_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "quota", lambda *_: 0.5)
    assert machine.cores() == 1


def test_more_workers_than_make_sense_here() -> None:
    with pytest.raises(UserError, match=r"2 cores, which is 50 workers .* 4 x 2 = 8"):
        cores_for(100, 2)
    assert cores_for(8, 2) == 8
    assert cores_for((2, 100), 2) == 8, "as many of a range as there may be"
    assert cores_for(None, 2) == 2


def test_a_hundred_workers_are_refused_before_there_is_a_folder(
    distgan: Run, tmp_path: Path
) -> None:
    done = distgan("train", "--workers", str(50 * machine.cores()), "--batch", "4096", "--out", "r")
    assert done.returncode == 2
    assert "50 workers on a core" in done.stderr
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(sys.platform == "darwin", reason="there TMPDIR is long for everybody")
@pytest.mark.slow
def test_a_long_temporary_folder_is_named_and_the_command_can_be_repeated(tmp_path: Path) -> None:
    place = tmp_path / ("long" * 20)
    place.mkdir()
    line = command("train", "--images", "64", "--workers", "1", "--out", "r")
    environment = {**os.environ, "TMPDIR": str(place)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("distgan: TMPDIR: no place for temporary files")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "r").exists(), "the mended command would be refused"


def test_a_temporary_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from distgan.launch.ray import cluster

    monkeypatch.setattr(cluster, "_ROOM", 1 << 62)
    monkeypatch.setattr(cluster.ray, "is_initialized", lambda: False)
    with pytest.raises(UserError, match=r"^TMPDIR: .* has room for "):
        cluster.Cluster(None, 1, verbose=False)


def test_scratch_is_for_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Scratch("distgan-x-") as folder:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        assert Path(folder).parent == tmp_path
        assert list(abandoned("distgan-")) == []
    assert not list(tmp_path.iterdir())


def _start_many(folder: str, rounds: int) -> int:
    import tempfile

    tempfile.tempdir = folder
    lost = 0
    for _ in range(rounds):
        scratch = Scratch("distgan-race-")
        lost += not Path(scratch.path, ".in-use").exists()
        scratch.close()
    return lost


@pytest.mark.slow
def test_starts_at_once_keep_their_folders(tmp_path: Path) -> None:
    """Every start clears away what others left, and must not take what others just made."""
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        lost = pool.starmap(_start_many, [(str(tmp_path), 100)] * 4)
    assert lost == [0] * 4
    assert not list(tmp_path.iterdir())


_SETTINGS = b"\0\0\0\4\0\0\0\0\0"
"""The frame with which RFC 9113, section 3.4, has a server begin."""


def _refused(status: bytes) -> bytes:
    """What gRPC's C core sends for a call that it refuses, as a whole frame of headers."""
    headers = b"\x88@\x0ccontent-type\x10application/grpc@\x0bgrpc-status"
    headers += bytes([len(status)]) + status
    return bytes((0, 0, len(headers), 1, 5, 0, 0, 0, 1)) + headers


@contextmanager
def _server(answer: bytes | None) -> Iterator[str]:
    """Something that listens, and says ``answer`` to whoever speaks, or nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(100)
                if answer is not None:
                    stream.sendall(answer)
                if not answer or answer.endswith(_SETTINGS):
                    over.wait(20)

        over = threading.Event()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()


def test_an_address_that_is_not_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        _server(b"HTTP/1.0 400 Bad request\r\n\r\n") as address,
        pytest.raises(UserError, match="something else listens there, not a Ray cluster"),
    ):
        check_address(address)
    with (
        _server(_SETTINGS + _refused(b"12")) as address,
        pytest.raises(UserError, match="another server listens there, not a Ray cluster"),
    ):
        check_address(address)
    # A cluster that wants a token says so in the same way; Ray knows where to find one.
    with _server(_SETTINGS + _refused(b"16")) as address:
        check_address(address)


@pytest.mark.parametrize("answer", [None, _SETTINGS])
def test_an_address_that_says_nothing(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None
) -> None:
    """Also one that speaks HTTP/2, for which Ray would wait a minute and end the process."""
    monkeypatch.setattr("distgan.launch.ray.address.SECONDS_TO_ANSWER", 0.3)
    start = time.monotonic()
    with (
        _server(answer) as address,
        pytest.raises(UserError, match=r"no Ray cluster answers there \(timed out\)"),
    ):
        check_address(address)
    assert time.monotonic() - start < 3


def test_a_name_that_is_looked_up_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def look_up(*_: object, **__: object) -> None:
        over.wait(20)
        raise OSError

    monkeypatch.setattr("distgan.launch.ray.address.SECONDS_TO_ANSWER", 0.3)
    monkeypatch.setattr(socket, "create_connection", look_up)
    with pytest.raises(UserError, match=r"timed out"):
        check_address("cluster.example:6379")
    over.set()


@pytest.mark.ray
def test_a_cluster_of_rays_is_one(cluster: str) -> None:
    check_address(cluster)


def test_all_limits_together_are_less_than_half_a_minute() -> None:
    from distgan.launch.ray import address, cluster

    limits = (address.SECONDS_TO_ANSWER, cluster._SECONDS_TO_JOIN, cluster._SECONDS_TO_LEAVE)
    assert sum(limits) < 30


def test_which_cluster_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster_address(None) == "10.0.0.1:6379"
    assert cluster_address("auto") == "auto"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_address(None) is None, "one of our own, on loopback like any other"


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1:6379", True),
        ("http://localhost:8265", True),
        ("192.0.2.1:6379", False),  # RFC 5737: nobody has it.
        ("auto", False),
    ],
)
def test_addresses_of_this_machine(address: str, here: bool) -> None:
    assert is_here(address) == here


def test_the_older_ray_train_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TRAIN_V2_ENABLED", "0")
    with pytest.raises(UserError, match="RAY_TRAIN_V2_ENABLED"):
        prepare_own_cluster()


def test_a_folder_of_the_packages_name_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "distgan").mkdir()
    here = str(Path(clean.__file__).parents[2])
    given = [str(tmp_path), "/nowhere"]
    paths = import_paths(given)
    assert paths == [*given, here], "Ray puts the last before all others"
    assert import_paths(["/nowhere", here]) == ["/nowhere", here]
    code = f"import sys; [sys.path.insert(0, p) for p in {paths}]; import distgan.errors as e; "
    told = subprocess.run(
        [sys.executable, "-I", "-c", code + "print(e.__file__)"], capture_output=True, text=True
    )
    assert told.stdout.startswith(here), told.stderr


def test_clean_lists_first_and_removes_what_nobody_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from distgan.cli import main

    place, cache, run = tmp_path / "tmp", tmp_path / "cache", tmp_path / "run"
    for folder in (place, cache / "distgan" / "statistics", run):
        folder.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(place))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    dead = place / "distgan-dead"
    dead.mkdir()
    (dead / ".in-use").touch()
    (cache / "distgan" / "statistics" / "one").write_bytes(bytes(3_000_000))
    for name in (".config.yaml.999999999.tmp", ".new.7.tmp", "config.yaml"):
        (run / name).touch()
    os.utime(run / ".config.yaml.999999999.tmp", (0, time.time() - 7200))
    with Scratch("distgan-live-") as live:
        assert main(["clean", str(run)]) == 0
        said = capsys.readouterr().out
        assert "3.0 MB in all; nothing was removed" in said
        assert dead.exists()
        assert main(["clean", "--yes", str(run)]) == 0
        assert Path(live).exists(), "its process lives"
    assert not dead.exists()
    assert sorted(path.name for path in run.iterdir()) == [".new.7.tmp", "config.yaml"]
    assert not list((cache / "distgan").iterdir())
    for path in (dead, run / ".config.yaml.999999999.tmp"):
        assert str(path) in said
    assert main(["clean", str(tmp_path / "none")]) == 2
