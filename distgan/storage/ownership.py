"""One writer at a time: of a run, a search, or a set that is being prepared.

On a local disk (also one of several machines, such as NFS, whose server passes locks on) the
owner holds a lock on a file in the folder, which the system releases however the owner ends. On
other storage it renews a lease; who finds one that nobody renews takes the folder over.

Every owner has an id of 16 hexadecimal digits, and a number, one more than the owner
before. Whoever writes for an owner, such as a worker on another machine, compares the id in the
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
"""File in the folder that is locked, or renewed; it says who does."""


class Ownership:
    """That this process, and no other, writes to a folder; use it as a context manager.

    Args:
        storage: the folder, which is made where it is not there.
        doing: what the owner does, as in "training", for who comes second.
        option: the option that named the folder.
        times: of a lease, where the storage has no locks.
        file: what is locked in the folder; owners of different files do not exclude each other.
        wait: seconds to wait for an owner to leave, before it is an error.
        made: whether the folder was made for this owner already. One that the owner or this
            class has made is removed at the end, if it is empty.

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
                # A filesystem without locks is leased like any other.
                pass
        where = f"{self._option} {self._storage.uri}"
        lease = Lease(self._storage, self._file, self._about, self._times, where)
        lease.take(self._refuse)
        self._lease = lease

    def claim(self, inside: str = "") -> Storage:
        """Make this the folder's owner in the eyes of all who write for it.

        Args:
            inside: a folder inside it in which the owner is named, instead of the folder itself.

        Returns:
            the folder, written to for this owner: its ``owner`` is this one's id.
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
        """Give the folder back, and remove it if it was made for nothing.

        A folder that was moved meanwhile may have left its place to another owner's.
        """
        if self._lease is not None:
            lease, self._lease = self._lease, None
            lease.release(with_folder=self._made)
        if self._handle is not None:
            handle, self._handle = self._handle, None
            path = self._storage.path(self._file)
            with contextlib.suppress(OSError):
                if _is(handle, path):
                    # While it is locked: nobody can lock a file that somebody else removes.
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
                    # The owner before had made the folder, and removed it when it left.
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
            # Its owner removed it between our opening and locking it.
            os.close(handle)
        # From here on `_leave` gives it back.
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
    """Somebody else owns the folder: who, where, since when."""


class _NoLocksError(Exception):
    """The filesystem knows no locks."""


def _said_in(handle: int) -> dict[str, Any]:
    """What an owner says of itself, which it writes right after it has locked the file."""
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
    """Turn a failure of the storage itself into an error that names the option and the folder."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{option} {storage.uri}: cannot be reached ({first_line(error)}); see to its "
            "permissions, credentials or network, or name another place"
        ) from None


def make_unused(folder: str, recipe: str) -> Storage:
    """Make a folder by the name of the recipe and the time that nobody else has made.

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
    """See that a folder that this process owns is empty, for something new.

    Args:
        first: the file that is written first; half of it may be left of an attempt that was
            killed, and is removed.

    Raises:
        UserError: when there is anything else in the folder.
    """
    storage.clear_unfinished(of=first)
    others = [name for name in storage.names() if name != LOCK and not name.startswith(".probe-")]
    if others:
        raise UserError(
            f"--out {storage.uri}: is not empty ({listed(others, 3)}); choose another --out"
        )


def withdraw_files(storage: Storage, *files: str) -> None:
    """Remove these files of something new, in this order, if there are no others yet.

    The folder itself is the owner's to remove, who knows whether it has made it.
    """
    with contextlib.suppress(OSError, UserError):
        if {name for name in storage.names() if not name.startswith(".")} <= set(files):
            storage.check_owner()
            for file in files:
                storage.delete(file)
