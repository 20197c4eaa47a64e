"""Temporary folders that are removed even if their process is killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from distgan.errors import UserError, brief, first_line

PREFIX = "distgan-"
"""Prefix of the names of all scratch folders of this package."""
_LOCK = ".in-use"
_MAKING = ".new-"
"""Prefix of the name of a folder that its process has not locked yet."""
_SECONDS_TO_MAKE = 600.0
_RANDOM = 8
"""Characters that `tempfile.mkdtemp` appends."""


class Scratch:
    """A temporary folder, removed by `close`; that of a killed process by the next `Scratch`.

    Only the user can read it. A lock on a file inside shows that the process is alive, also to
    processes in other containers, which cannot see its process id.

    Args:
        prefix: of the folder's name; only abandoned folders with this prefix are removed.
        longest: upper bound of its path's bytes, for Unix sockets below it.

    Raises:
        UserError: when it cannot be created.
    """

    def __init__(self, prefix: str, longest: int | None = None) -> None:
        for folder in abandoned(prefix):
            shutil.rmtree(folder, ignore_errors=True)
        made, self._lock = _make(prefix, longest)
        # Created under another name, which nobody removes, until the lock is held.
        self.path = str(made.with_name(made.name.removeprefix(_MAKING)))
        os.rename(made, self.path)

    def __enter__(self) -> str:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder; what cannot be removed now is removed by a later `Scratch`."""
        with contextlib.suppress(OSError):
            # The lock file last: a folder without it is not recognised as a scratch folder.
            for name in set(os.listdir(self.path)) - {_LOCK}:
                inner = os.path.join(self.path, name)
                if os.path.isdir(inner) and not os.path.islink(inner):
                    shutil.rmtree(inner, ignore_errors=True)
                else:
                    os.unlink(inner)
            if os.listdir(self.path) == [_LOCK]:
                shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _make(prefix: str, longest: int | None) -> tuple[Path, int]:
    reasons = []
    for parent in _places():
        room = None if longest is None else longest - len(prefix) - _RANDOM - 1
        if room is not None and len(os.fsencode(parent)) > room:
            reasons.append(
                f"{brief(parent)} has {len(os.fsencode(parent))} bytes, and Ray's sockets in it "
                f"leave room for {room}"
            )
            continue
        try:
            made = tempfile.mkdtemp(prefix=f"{_MAKING}{prefix}", dir=parent)
            lock = os.open(f"{made}/{_LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Path(made), lock
        except OSError as error:
            reasons.append(first_line(error))
    raise UserError(
        f"TMPDIR: no place for temporary files ({'; '.join(reasons)}); set it to a folder with a "
        "short name that can be written, such as /tmp"
    )


def _places() -> list[str]:
    try:
        usual = tempfile.gettempdir()
    except OSError:
        # gettempdir() tries to write a file, and could in none of its folders.
        usual = os.environ.get("TMPDIR", "/tmp")
    # macOS sets TMPDIR for every user, to a long path, so /tmp is an alternative. Elsewhere a user
    # who sets it may do so because /tmp is too small, so there is none.
    return list(dict.fromkeys((usual, "/tmp"))) if sys.platform == "darwin" else [usual]


def abandoned(prefix: str) -> Iterator[Path]:
    """The user's folders with a prefix whose process has ended; each is locked while yielded."""
    for parent in map(Path, _places()):
        for folder in filter(_is_ours, sorted(parent.glob(f"{prefix}*"))):
            # Folders without the lock file were not made by this module.
            with contextlib.suppress(OSError):
                lock = os.open(folder / _LOCK, os.O_RDWR)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    yield folder
                finally:
                    os.close(lock)
        for folder in filter(_is_ours, sorted(parent.glob(f"{_MAKING}{prefix}*"))):
            with contextlib.suppress(OSError):
                # A young one may still be on the way to being locked and renamed.
                if time.time() - folder.stat().st_mtime > _SECONDS_TO_MAKE:
                    yield folder


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def cache_folder() -> Path:
    """Folder of downloads: ``$XDG_CACHE_HOME/distgan``, by default ``~/.cache/distgan``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "distgan"


def sets_folder() -> Path:
    """Folder of the sets that `distgan train` prepared on the way, one folder each."""
    return cache_folder() / "sets"
