"""Exclusive ownership of a folder on storage without locks, by a lease that is renewed."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from distgan.errors import UserError
from distgan.storage.storage import Storage

_TRIES = 5
"""Attempts to take a lease before giving up."""


@dataclass(frozen=True)
class Times:
    """Times of a lease, in seconds."""

    renew: float = 5.0
    """Between two renewals."""
    expire: float = 30.0
    """Time without a renewal after which an owner counts as dead."""
    settle: float = 2.0
    """Between writing a lease and reading it back, at least, and at least four times as long as
    the write took."""


class Lease:
    """A file that its owner rewrites every few seconds.

    It is taken by Fischer's algorithm (Lamport 1987, "A Fast Mutual Exclusion Algorithm", section
    2): a process that finds no lease, or one that is not renewed, writes its own, waits for
    longer than any other can take between reading and writing, and owns the lease if its own is
    still in the file.

    A slow write may replace the lease of another process that became the owner meanwhile. That
    owner rewrites its lease at its next renewal. So after a slow write a process also waits for
    two renewals, finds the owner's lease and gives up its attempt.

    Args:
        where: the option and the folder, for errors.
    """

    def __init__(
        self, storage: Storage, file: str, about: dict[str, Any], times: Times, where: str
    ) -> None:
        self._storage, self._file, self._about, self._times = storage, file, about, times
        self._where = where
        self._beats, self._renewed = 0, 0.0
        self._remade = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def take(self, refuse: Callable[[dict[str, Any]], None]) -> None:
        """Become the owner.

        Args:
            refuse: called with the other owner's description; must raise.

        Raises:
            UserError: when what was written does not stay in the storage.
        """
        try:
            self._take(refuse)
        except BaseException:
            self.release()
            raise
        self._thread.start()

    def _take(self, refuse: Callable[[dict[str, Any]], None]) -> None:
        slowest = 0.0
        for _ in range(_TRIES):
            seen = self._read()
            if seen and not self._is_mine(seen) and not self._expires(seen):
                refuse(parse(self._read() or seen))
            start = time.monotonic()
            # A random pause, so that two equally fast processes do not collide again.
            mine = None if self._read() != seen else self._write_unless_gone()
            if mine is None:
                time.sleep(random.uniform(0, self._times.settle))
                continue
            took = time.monotonic() - start
            slowest = max(slowest, took)
            settle = max(self._times.settle, 4 * took)
            if took > self._times.settle / 2:
                settle += 2 * self._times.renew
            time.sleep(settle)
            if self._read() == mine:
                return
            time.sleep(random.uniform(0, self._times.settle))
        raise UserError(
            f"{self._where}: cannot be told to belong to nobody else (in {_TRIES} tries what was "
            f"written did not stay, and a write took up to {slowest:.1f} s); see to the storage, "
            "or choose another place"
        )

    def release(self, with_folder: bool = False) -> None:
        """Delete the lease.

        Args:
            with_folder: delete the folder, too, if nothing else is in it. This is also done where
                a previous owner removed the folder and this lease's write made it again.
        """
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError, UserError):
            if not self._is_mine(self._read()):
                return
            # The folder is deleted with the lease inside: once the lease is gone, another
            # process may have put its own there.
            if (with_folder or self._remade) and self._storage.names() == [self._file]:
                self._storage.delete_folder()
            else:
                self._storage.delete(self._file)

    def _expires(self, seen: bytes) -> bool:
        """Whether a lease is not renewed, by observing it; clocks are not compared."""
        end = time.monotonic() + self._times.expire
        while time.monotonic() < end:
            time.sleep(min(self._times.renew / 5, max(0.0, end - time.monotonic())))
            if self._read() != seen:
                return False
        return True

    def _renew(self) -> None:
        while not self._ended.wait(self._times.renew):
            # A renewal that fails is tried again. If the lease was lost meanwhile, the next write
            # through `Storage` raises, as it checks the owner.
            with contextlib.suppress(OSError, UserError):
                # Writing into a folder that was moved or removed would create it again.
                if not (self._storage.whole_objects or self._storage.exists()):
                    continue
                # Only an expired lease can have been taken over. Before that, another lease in
                # the file is a late write of a failed attempt, and is overwritten.
                late = time.monotonic() - self._renewed > self._times.expire
                if late and not self._is_mine(self._read()):
                    return
                self._write()

    def _is_mine(self, content: bytes) -> bool:
        return bool(parse(content).get("id") == self._about["id"])

    def _write(self) -> bytes:
        self._beats += 1
        content = json.dumps({**self._about, "beat": self._beats}).encode()
        start = time.monotonic()
        self._storage.write(self._file, content)
        self._renewed = start
        return content

    def _write_unless_gone(self) -> bytes | None:
        """What was written, or None where the folder went away meanwhile.

        An owner that leaves removes the folder that was made for it, also while another writes.
        """
        try:
            return self._write()
        except UserError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            self._remade = True
            return None

    def _read(self) -> bytes:
        try:
            return self._storage.read(self._file)
        except FileNotFoundError:
            return b""


def parse(content: bytes) -> dict[str, Any]:
    """An owner's description of itself; empty for text that is not one."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
