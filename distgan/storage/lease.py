"""Owning a folder on storage without locks: a file that its owner writes anew every few seconds."""

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
"""How often a lease is written before its storage is given up."""


@dataclass(frozen=True)
class Times:
    """Of a lease, in seconds."""

    renew: float = 5.0
    """Between two renewals."""
    expire: float = 30.0
    """Without a renewal, after which an owner is taken for dead."""
    settle: float = 2.0
    """Between writing a lease and reading it back, at least; else four times what a write took."""


class Lease:
    """A file that its owner writes anew every few seconds.

    Taking it is Fischer's algorithm (Lamport 1987, "A Fast Mutual Exclusion Algorithm", section
    2): who finds none, or one that is not renewed, writes its own, waits for longer than others
    can take between their reading and writing, and owns it if it is still there.

    A write that took long may have replaced the lease of another that settled meanwhile. That
    other puts its own back at its next renewal, for which the slow one waits, and gives way.

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
        """Own it.

        Args:
            refuse: raises that somebody else does.

        Raises:
            UserError: when the storage does not show what was written.
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
            # Two that are as fast as each other are not to meet again and again.
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
        """Give it back, together with a folder in which nothing else is.

        Args:
            with_folder: whether the folder was made for it; so it is, too, where an owner before
                removed the folder and this lease's write has made it anew.
        """
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with contextlib.suppress(OSError, UserError):
            if not self._is_mine(self._read()):
                return
            # At once: another's lease might be in the folder as soon as this one is not.
            if (with_folder or self._remade) and self._storage.names() == [self._file]:
                self._storage.delete_folder()
            else:
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
                # To write into a folder that was moved or removed would make it anew.
                if not (self._storage.whole_objects or self._storage.exists()):
                    continue
                # Until this one has expired nobody can have taken it over: another's was late.
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
    """What an owner says of itself; empty where it is no such text."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
