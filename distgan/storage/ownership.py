"""One writer at a time: of a run, a search, or a set that is being prepared.

On a local disk, and on shared ones such as NFS whose server supports locks, the owner holds a
lock on a file in the folder, which the system releases however the owner ends. On other storage
it renews a lease; a process that finds a lease that is not renewed takes the folder over.

Every owner has an id of 16 hexadecimal digits, and a number, one more than the previous owner's. A
process that writes for an owner, such as a worker on another machine, compares the id in the
folder with the owner's before each write (`Storage` does), so that workers of a lost driver stop
instead of writing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from distgan.errors import UserError, first_line, listed, printable
from distgan.storage.lease import Lease, Times, parse
from distgan.storage.storage import OWNER, Storage, owner_of

LOCK = ".lock"
"""File in the folder that is locked, or is the lease; it holds a description of the owner."""


class Ownership:
    """Exclusive ownership of a folder by this process; use it as a context manager.

    Args:
        storage: the folder, which is created if missing.
        doing: what the owner does, such as "training", for the error of a second process.
        option: the option that named the folder, for errors.
        times: of the lease, where the storage has no locks.
        file: the locked file in the folder; owners of different files do not exclude each other.
        wait: seconds to wait for another owner to end, before it is an error.
        made: whether the caller has just created the folder. A folder created by the caller or
            by this class is removed at the end if it is empty.

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
        made: bool = False,
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
        self._lease: Lease | None = None
        self._made = made

    def __enter__(self) -> Ownership:
        deadline = time.monotonic() + self._wait
        while True:
            try:
                with reachable(self._option, self._storage):
                    self._take()
                return self
            except _OwnedError as error:
                if time.monotonic() >= deadline:
                    raise UserError(str(error)) from None
                time.sleep(0.05)
            except BaseException:
                self._leave()
                raise

    def _take(self) -> None:
        if not self._storage.exists():
            self._made = True
        elif not self._storage.is_folder():
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
                # A local filesystem without locks: take a lease as on remote storage.
                pass
        where = f"{self._option} {self._storage.uri}"
        lease = Lease(self._storage, self._file, self._about, self._times, where)
        lease.take(self._refuse)
        self._lease = lease

    def claim(self, inside: str = "") -> Storage:
        """Write this owner's id into the folder, so that writes for other owners fail.

        Args:
            inside: a folder inside it for the file with the id, instead of the folder itself.

        Returns:
            the folder with ``owner`` set to this id.
        """
        place = self._storage.child(inside) if inside else self._storage
        number = (owner_of(place) or {}).get("number")
        number = number + 1 if isinstance(number, int) else 1
        place.write(OWNER, json.dumps({"number": number, **self._about}) + "\n")
        return self._storage.owned_by(self._id, inside)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        """Release the folder, and remove it if it was created by this owner and is empty.

        If the folder was moved meanwhile, another owner's may be at its path, so that is checked.
        """
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release(with_folder=self._made)
        if self._handle is not None:
            handle, self._handle = self._handle, None
            path = self._storage.path(self._file)
            with contextlib.suppress(OSError):
                if _is(handle, path):
                    # Removed while locked, so that no other process locks the removed file.
                    os.unlink(path)
                    if self._made:
                        os.rmdir(self._storage.path())
            os.close(handle)

    def _lock(self) -> None:
        path = self._storage.path(self._file)
        while True:
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and not os.path.lexists(path):
                    # The previous owner had created the folder, and removed it at its end.
                    self._made = self._made or not self._storage.exists()
                    self._storage.make()
                    continue
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
            # The previous owner removed the file after this process opened it: open it again.
            os.close(handle)
        # From here on `_leave` releases it.
        self._handle = handle
        try:
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(self._about).encode())
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise UserError(
                f"{self._option} {self._storage.uri}: "
                f"{'no space left to write' if full else 'cannot be written'} "
                f"({error.strerror}); free some space, or choose another place"
            ) from error

    def _refuse(self, owner: dict[str, Any]) -> None:
        doing = printable(str(owner.get("doing", "something"))[:40])
        raise _OwnedError(
            f"{self._option} {self._storage.uri}: {doing} goes on there, by process "
            f"{printable(str(owner.get('process', '?'))[:20])} on "
            f"{printable(str(owner.get('host', '?'))[:60])} since "
            f"{printable(str(owner.get('since', '?'))[:40])}; wait until it has ended, or stop it"
        )


class _OwnedError(Exception):
    """Another process owns the folder; the message says which, where and since when."""


class _NoLocksError(Exception):
    """The filesystem does not support locks."""


def _said_in(handle: int) -> dict[str, Any]:
    """The owner's description in a locked file, which it writes right after locking."""
    for _ in range(20):
        if content := os.pread(handle, 4096, 0):
            return parse(content)
        time.sleep(0.02)
    return {}


def _is(handle: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


@contextlib.contextmanager
def reachable(option: str, storage: Storage) -> Iterator[None]:
    """Turn an `OSError` of the storage into a `UserError` with the option and the folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{option} {storage.uri}: cannot be reached ({first_line(error)}); see to its "
            "permissions, credentials or network, or name another place"
        ) from None


def make_unused(folder: str, recipe: str) -> Storage:
    """Create a new folder named after the recipe and the time.

    Raises:
        UserError: when it cannot be made.
    """
    wanted = f"{folder}/{recipe}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        storage = Storage(wanted if number == 1 else f"{wanted}-{number}")
        try:
            os.makedirs(storage.path())
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"--out {wanted}: cannot be written ({error.strerror}); choose another --out"
            ) from None
        return storage
    raise AssertionError


def refuse_occupied(storage: Storage, first: str) -> None:
    """Check that a folder owned by this process is empty, for a new run or search.

    Args:
        first: the file that is written first; an incomplete one, left by a killed process, is
            removed.

    Raises:
        UserError: when there is anything else in the folder.
    """
    storage.clear_unfinished(of=first)
    check_empty(storage)


def check_empty(storage: Storage) -> None:
    """Check that a folder holds nothing of a run or search, and nothing else of the user's.

    Raises:
        UserError: when it does.
    """
    others = [name for name in storage.names() if name != LOCK and not name.startswith(".probe-")]
    if others:
        raise UserError(
            f"--out {storage.uri}: is not empty ({listed(others, 3)}); choose another --out"
        )


def withdraw_files(storage: Storage, *files: str) -> None:
    """Remove these files of a new run or search, in this order, if there are no others yet.

    The folder itself is removed by `Ownership`, if it created it.
    """
    with contextlib.suppress(OSError, UserError):
        if {name for name in storage.names() if not name.startswith(".")} <= set(files):
            storage.check_owner()
            for file in files:
                storage.delete(file)
