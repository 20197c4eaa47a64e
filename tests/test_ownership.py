"""Never two owners, no lock without an owner, and no write for an owner that was followed."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs as pafs

from distgan.errors import UserError
from distgan.storage import lease, ownership
from distgan.storage.lease import Times
from distgan.storage.ownership import LOCK, Ownership
from distgan.storage.retrying import RetryingStorage
from distgan.storage.storage import OWNER, AppendLog, Storage

from .objects import ObjectStore

TIMES = Times(renew=0.02, expire=0.15, settle=0.05)

RACING = Times(renew=0.02, expire=2.0, settle=0.1)
"""Where no owner dies, none may be taken for dead, however busy the machine is."""

Place = Callable[[], Storage]


@pytest.fixture(params=["locks", "lease", "objects"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Gives the same folder anew: on a local disk, on a filesystem that is not, and in a store."""
    if request.param == "locks":
        return lambda: Storage(tmp_path / "run")
    if request.param == "objects":
        store = ObjectStore(0.005)
        return lambda: store.storage("run")
    remote = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    return lambda: Storage("run", remote)


def race(place: Place, attempts: int) -> tuple[int, int]:
    """Two threads that both want a folder, again and again; how often it was had and refused."""
    draw = random.Random(4)
    inside = threading.Semaphore(1)
    had, refused, twice = [], [], []

    def want(pause: float) -> None:
        time.sleep(pause)
        try:
            with Ownership(place(), "racing", times=RACING):
                if not inside.acquire(blocking=False):
                    twice.append(pause)
                    return
                time.sleep(0.03)
                had.append(pause)
                inside.release()
        except UserError as error:
            refused.append(str(error))

    for _ in range(attempts):
        threads = [threading.Thread(target=want, args=(draw.random() * 0.04,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not twice
    # Or, of two that wrote over each other's leases again and again, neither is served.
    known = ("racing goes on there, by process", "cannot be told to belong to nobody else")
    assert [said for said in refused if not any(each in said for each in known)] == []
    return len(had), len(refused)


def test_never_two_owners(place: Place) -> None:
    had, refused = race(place, 10)
    assert had + refused == 20
    assert had >= 5


@pytest.mark.drill
def test_never_two_owners_in_a_hundred_races(place: Place) -> None:
    print("had, refused:", race(place, 100))


OWNER_THAT_LIVES = """
import sys, time
from pyarrow import fs
from distgan.storage.lease import Times
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage
folder, kind = sys.argv[1:]
remote = fs.SubTreeFileSystem(folder, fs.LocalFileSystem())
storage = Storage(folder + "/run") if kind == "locks" else Storage("run", remote)
with Ownership(storage, "training", times=Times(0.02, 0.15, 0.05)):
    print("owned", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["locks", "lease"])
def test_a_dead_owners_folder_is_free(tmp_path: Path, kind: str) -> None:
    remote = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    storage = Storage(tmp_path / "run") if kind == "locks" else Storage("run", remote)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER_THAT_LIVES, str(tmp_path), kind],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "owned\n"
    with pytest.raises(UserError, match=rf"--out .*run: training .* by process {owner.pid} on"):
        Ownership(storage, "training", times=TIMES).__enter__()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    start = time.monotonic()
    with Ownership(storage, "training", times=TIMES):
        seconds = time.monotonic() - start
    # A lock at once; a lease once it has expired, with room for a busy machine.
    assert seconds < (1 if kind == "locks" else 5)
    assert not storage.exists(LOCK)


def test_who_was_followed_writes_no_more(place: Place) -> None:
    with Ownership(place(), "training", times=TIMES) as first:
        owned = first.claim()
        said: list[str] = []
        inner = place()
        worker = RetryingStorage(inner.uri, lambda text, kind="": said.append(text),
                                inner.filesystem, owner=owned.owner)  # fmt: skip
        worker.write("a.txt", "mine")
        log = AppendLog(worker, "log.txt") if inner.local else None
    with Ownership(place(), "training", times=TIMES) as second:
        second.claim()
        number = json.loads(place().read(OWNER))["number"]
        assert number == 2
        with pytest.raises(UserError, match="has got another owner"):
            worker.write("a.txt", "late")
        with pytest.raises(UserError, match="has got another owner"):
            worker.delete("a.txt")
        if log is not None:
            with pytest.raises(UserError, match="has got another owner"):
                log.append("late")
    assert place().read_text("a.txt") == "mine"
    assert not said


def test_a_folder_that_was_moved_away_is_not_made_anew(tmp_path: Path) -> None:
    with Ownership(Storage(tmp_path / "run"), "training") as owner:
        worker = owner.claim()
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="is gone, or was moved or emptied"):
        worker.write("checkpoints/a.pt", b"late")
    assert not (tmp_path / "run").exists()


def test_nothing_is_left_of_what_was_made_for_nothing(place: Place) -> None:
    storage = place()
    with Ownership(storage, "training", times=TIMES):
        assert storage.exists(LOCK)
    assert not storage.exists(LOCK)
    if storage.local:
        assert not storage.exists()
    with Ownership(storage, "training", times=TIMES) as owner:
        owner.claim()
    assert storage.names() == [OWNER]


def test_a_filesystem_without_locks_is_leased(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(ownership.fcntl, "flock", none)
    second = Ownership(Storage(tmp_path / "run"), "training", times=TIMES)
    with (
        Ownership(Storage(tmp_path / "run"), "training", times=TIMES),
        pytest.raises(UserError, match=f"by process {os.getpid()} on"),
    ):
        second.__enter__()
    with Ownership(Storage(tmp_path / "run"), "training", times=TIMES):
        pass


def test_who_leaves_takes_only_its_own_lock(tmp_path: Path) -> None:
    with Ownership(Storage(tmp_path / "a"), "training"):
        (tmp_path / "a").rename(tmp_path / "b")
        second = Ownership(Storage(tmp_path / "a"), "training").__enter__()
    assert (tmp_path / "a" / LOCK).exists()
    with pytest.raises(UserError, match="training goes on there"):
        Ownership(Storage(tmp_path / "a"), "training").__enter__()
    second.__exit__(None, None, None)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("content", [None, "", "{", '{"number": 1}', '{"number": 7, "id": []}'])
def test_no_two_owners_are_alike(tmp_path: Path, content: str | None) -> None:
    """Whatever became of the file in which owners are counted."""
    with Ownership(Storage(tmp_path / "run"), "training") as first:
        lost = first.claim()
    if content is None:
        (tmp_path / "run" / OWNER).unlink()
    else:
        (tmp_path / "run" / OWNER).write_text(content)
    with Ownership(Storage(tmp_path / "run"), "training") as second:
        owned = second.claim()
    owned.write("a.txt", "mine")
    with pytest.raises(UserError, match="has got another owner"):
        lost.write("a.txt", "late")


def test_a_full_disk_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ownership.os, "write", full)
        with pytest.raises(UserError, match=r"run: no space left to write \(No space left on"):
            Ownership(Storage(tmp_path / "run"), "training").__enter__()
    assert not (tmp_path / "run").exists()
    with Ownership(Storage(tmp_path / "run"), "training"):
        pass


class Slow(Storage):
    """On a store whose writes arrive only after some seconds."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__("run", pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem()))
        self.seconds = seconds

    def write(self, name: str, content: Any) -> None:
        time.sleep(self.seconds)
        super().write(name, content)


def test_slow_storage_is_waited_for(tmp_path: Path) -> None:
    times = Times(renew=0.02, expire=2, settle=0.02)
    with Ownership(Slow(tmp_path, 0.05), "training", times=times):
        with pytest.raises(UserError, match="training goes on there"):
            Ownership(Slow(tmp_path, 0.05), "training", times=times).__enter__()
        assert Storage(tmp_path / "run").exists(LOCK)
    assert not Storage(tmp_path / "run").exists(LOCK)


def test_a_late_write_does_not_take_over_from_who_settled(tmp_path: Path) -> None:
    times = Times(renew=0.02, expire=5, settle=0.05)
    late = Slow(tmp_path, 0)
    refused: list[str] = []

    def want() -> None:
        try:
            Ownership(late, "training", times=times).__enter__()
        except UserError as error:
            refused.append(str(error))

    entered = threading.Event()
    write = late.write
    late.write = lambda *given: (entered.set(), time.sleep(0.5), write(*given))  # type: ignore
    thread = threading.Thread(target=want)
    thread.start()
    # The other has seen a free folder, and its write is on its way.
    assert entered.wait(10)
    with Ownership(Slow(tmp_path, 0), "training", times=times) as first:
        thread.join()
        assert "training goes on there, by process" in refused[0]
        said = json.loads(late.read(LOCK))
        assert said["id"] == first.claim().owner


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_never_two_owners_in_a_store_of_slow_writes(seconds: float) -> None:
    """Writes of up to twice as many seconds, and so beyond the time that a lease settles in."""
    store = ObjectStore(seconds)
    had, refused = race(lambda: store.storage("run"), 4)
    assert had + refused == 8
    assert had >= 2
    assert store.moves == 0
    assert not store.objects


def test_a_store_takes_files_whole_and_moves_none() -> None:
    store = ObjectStore()
    with Ownership(store.storage("run"), "training", times=TIMES) as owner:
        owned = owner.claim()
        owned.write("a/b.txt", "mine")
        assert set(store.objects) == {f"bucket/run/{n}" for n in (LOCK, OWNER, "a/b.txt")}
    assert store.moves == 0
    assert owned.read_text("a/b.txt") == "mine"
    assert owned.names() == ["a", OWNER]


def test_a_lease_whose_folder_goes_is_written_again(tmp_path: Path) -> None:
    """As it does where the owner before removes the folder that was made for it."""
    gone: list[str] = []

    class Going(Slow):
        def write(self, name: str, content: Any) -> None:
            if not gone:
                gone.append(name)
                (tmp_path / "run").rmdir()
                try:
                    raise FileNotFoundError(errno.ENOENT, "No such file or directory", name)
                except OSError as error:
                    raise UserError(f"{name}: cannot be written") from error
            super().write(name, content)

    (tmp_path / "run").mkdir()
    with Ownership(Going(tmp_path, 0), "training", times=TIMES):
        assert gone == [LOCK]
        assert (tmp_path / "run" / LOCK).exists()
    assert not (tmp_path / "run").exists(), "made anew for this owner"


def test_a_lease_makes_no_folder_anew_that_was_moved_away(tmp_path: Path) -> None:
    with Ownership(Slow(tmp_path, 0), "training", times=TIMES) as owner:
        owner.claim()
        (tmp_path / "run").rename(tmp_path / "elsewhere")
        time.sleep(10 * TIMES.renew)
        assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run").exists()


def test_storage_that_forgets_is_given_up(tmp_path: Path) -> None:
    storage = Slow(tmp_path, 0)
    storage.write = lambda name, content: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"--out run: cannot be told to belong .*in 5 tries"):
        Ownership(storage, "training", times=Times(0.02, 0.05, 0.01)).__enter__()


def test_an_interrupted_start_leaves_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Slow(tmp_path, 0)

    def interrupt(seconds: float) -> None:
        assert storage.exists(LOCK)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Slow, "write", Storage.write)
        patch.setattr(lease.time, "sleep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            Ownership(storage, "training", times=TIMES).__enter__()
    assert not storage.exists(LOCK)
