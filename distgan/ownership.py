"""One writer at a time: of a run, a search, or a set that is being prepared.

On a local disk (also one of several machines, such as NFS, whose server passes locks on) the
owner holds a lock on a file in the folder, which the system releases however the owner ends. On
other storage it renews a lease; who finds one that nobody renews takes the folder over.

Every owner of a run has a number, one more than the owner before. Whoever writes for an owner,
such as a worker on another machine, compares the number in the folder with the owner's before
each write (`Storage` does), so that workers of a lost driver stop instead of writing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from distgan.errors import UserError, first_line, printable
from distgan.storage import OWNER, Storage, owner_number

LOCK = ".lock"
"""File in the folder that is locked, or renewed; it says who does."""


@dataclass(frozen=True)
class Times:
    """Of a lease, in seconds."""

    renew: float = 5.0
    """Between two renewals."""
    expire: float = 30.0
    """Without a renewal, after which an owner is taken for dead."""
    settle: float = 2.0
    """Between writing a lease and reading it back: longer than a write takes."""


class Ownership:
    """That this process, and no other, writes to a folder; use it as a context manager.

    Args:
        storage: the folder, which is made where it is not there.
        doing: what the owner does, as in "training", for who comes second.
        option: the option that named the folder.
        times: of a lease, where the storage has no locks.
        file: what is locked in the folder; owners of different files do not exclude each other.
        wait: seconds to wait for an owner to leave, before it is an error.

    Raises:
        UserError: on entering, when another process owns the folder: who, where, since when.
    """

    def __init__(
        self,
        storage: Storage,
        doing: str,
        option: str = "--out",
        times: Times | None = None,
        *,
        file: str = LOCK,
        wait: float = 0.0,
    ) -> None:
        self._storage, self._option, self._times = storage, option, times or Times()
        self._file, self._wait = file, wait
        self._id = secrets.token_hex(8)
        self._about = {
            "id": self._id,
            "doing": doing,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        }
        self._handle: int | None = None
        self._lease: _Lease | None = None
        self._made = False

    def __enter__(self) -> Ownership:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                self._take()
                return self
            except _OwnedError as error:
                if time.monotonic() >= deadline:
                    raise UserError(str(error)) from None
                time.sleep(0.05)
            except OSError as error:
                raise UserError(
                    f"{self._option} {self._storage.uri}: cannot be reached "
                    f"({first_line(error)}); see to its permissions, credentials or network, or "
                    "name another place"
                ) from None

    def _take(self) -> None:
        self._made = not self._storage.exists()
        if not self._made and not self._storage.is_folder():
            raise UserError(
                f"{self._option} {self._storage.uri}: is a file, not a folder; choose another "
                f"{self._option}"
            )
        if self._storage.local:
            self._storage.make()
            try:
                self._lock()
                return
            except _NoLocksError:
                # A filesystem without locks is leased like any other.
                pass
        lease = _Lease(self._storage, self._file, self._about, self._times)
        lease.take(self._refuse)
        self._lease = lease

    def number(self) -> int:
        """Make this the run's owner in the eyes of all who write for it: their number."""
        number = (owner_number(self._storage) or 0) + 1
        self._storage.write(OWNER, json.dumps({"number": number, **self._about}) + "\n")
        return number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lease is not None:
            self._lease.release()
            if self._made:
                with contextlib.suppress(OSError, UserError):
                    if not self._storage.names():
                        self._storage.delete_folder()
        if self._handle is not None:
            # Removed while it is still locked: nobody can lock a file that somebody else removes.
            with contextlib.suppress(OSError):
                os.unlink(self._storage.path(self._file))
            os.close(self._handle)
            self._handle = None
            if self._made:
                # Only an empty one: what was made for nothing goes.
                with contextlib.suppress(OSError):
                    os.rmdir(self._storage.path())

    def _lock(self) -> None:
        path = self._storage.path(self._file)
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise UserError(
                    f"{self._option} {self._storage.uri}: cannot be written ({error.strerror}); "
                    "see to its permissions, or choose another place"
                ) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = _said_in(handle)
                os.close(handle)
                self._refuse(owner)
            except OSError:
                os.close(handle)
                raise _NoLocksError from None
            if _is(handle, path):
                break
            # Its owner removed it between our opening and locking it.
            os.close(handle)
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(self._about).encode())
        self._handle = handle

    def _refuse(self, owner: dict[str, Any]) -> None:
        doing = printable(str(owner.get("doing", "something"))[:40])
        raise _OwnedError(
            f"{self._option} {self._storage.uri}: {doing} goes on there, by process "
            f"{printable(str(owner.get('process', '?'))[:20])} on "
            f"{printable(str(owner.get('host', '?'))[:60])} since "
            f"{printable(str(owner.get('since', '?'))[:40])}; wait until it has ended, or stop it"
        )


class _OwnedError(Exception):
    """Somebody else owns the folder: who, where, since when."""


class _NoLocksError(Exception):
    """The filesystem knows no locks."""


def _said_in(handle: int) -> dict[str, Any]:
    """What an owner says of itself, which it writes right after it has locked the file."""
    for _ in range(20):
        if content := os.pread(handle, 4096, 0):
            return _parse(content)
        time.sleep(0.02)
    return {}


def _is(handle: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


class _Lease:
    """A file that its owner writes anew every few seconds.

    Taking it is Fischer's algorithm (Lamport 1987, "A Fast Mutual Exclusion Algorithm", section
    2): who finds none, or one that is not renewed, writes its own, waits for longer than others
    can take between their reading and writing, and owns it if it is still there.
    """

    def __init__(self, storage: Storage, file: str, about: dict[str, Any], times: Times) -> None:
        self._storage, self._file, self._about, self._times = storage, file, about, times
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self, refuse: Callable[[dict[str, Any]], None]) -> None:
        while True:
            seen = self._read()
            if seen and not self._expires(seen):
                refuse(_parse(self._read() or seen))
            start = time.monotonic()
            if self._read() != seen:
                continue
            mine = self._write()
            if time.monotonic() - start > self._times.settle / 2:
                # Too slow to rely on the wait: as if nothing had been written.
                continue
            time.sleep(self._times.settle)
            if self._read() == mine:
                break
        self._thread.start()

    def release(self) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError, UserError):
            if _parse(self._read()).get("id") == self._about["id"]:
                self._storage.delete(self._file)

    def _expires(self, seen: bytes) -> bool:
        """Whether nobody renews a lease; by this machine's clock alone."""
        end = time.monotonic() + self._times.expire
        while time.monotonic() < end:
            time.sleep(min(self._times.renew / 5, max(0.0, end - time.monotonic())))
            if self._read() != seen:
                return False
        return True

    def _renew(self) -> None:
        while not self._ended.wait(self._times.renew):
            # Storage that fails for a while is no reason to give up; who is fenced hears of it
            # at the next write.
            with contextlib.suppress(OSError, UserError):
                if _parse(self._read()).get("id") != self._about["id"]:
                    return
                self._write()

    def _write(self) -> bytes:
        self._beats += 1
        content = json.dumps({**self._about, "beat": self._beats}).encode()
        self._storage.write(self._file, content)
        return content

    def _read(self) -> bytes:
        try:
            return self._storage.read(self._file)
        except FileNotFoundError:
            return b""


def _parse(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
