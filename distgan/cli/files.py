"""Files that verbs read and write by the path or URI a user gives."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from distgan.errors import UserError, first_line

_MOST_BYTES = 2**24
"""Largest text file that is read: a thousand times any configuration."""


def check_writable(path: str, option: str, example: str) -> None:
    """Check, before any work, that a file can be written there; an existing one is replaced.

    Missing folders above it are made later, by `write_file`.

    Raises:
        UserError: when it cannot, naming the ``option`` and an ``example`` of a file's name.
    """
    from distgan.storage.storage import split

    if not path:
        raise UserError(f"{option}: is empty; name a file, such as {example}")
    try:
        storage, name = split(path)
        if not name:
            raise UserError(f"{option} {path}: is a folder; name a file, such as {example}")
        if not storage.local:
            return
        target = Path(storage.path(name))
        found = _stat(target)
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise UserError(f"{option} {path}: is no regular file; name another, such as {example}")
        above = next(folder for folder in target.parents if _stat(folder) is not None)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({_reason(error)})") from None
    if not above.is_dir():
        raise UserError(f"{option} {path}: cannot be written ({above} is no folder)")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{option} {path}: cannot be written (no permission in {above})")


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_file(path: str, content: bytes) -> None:
    """Write a file whole.

    Raises:
        UserError: when it cannot be written.
    """
    from distgan.storage.storage import last_name, split

    storage, name = split(path)
    storage.write(name or last_name(path), content)


def read_file(path: str, option: str, remedy: str) -> str:
    """The text of a file.

    Raises:
        UserError: when it is missing, cannot be read or is not text, naming the ``option`` that
            gave its path.
    """
    from pyarrow import fs

    from distgan.storage.storage import split

    try:
        storage, name = split(path)
        if not name:
            raise UserError(f"{option} {path}: is {'a folder' if path else 'empty'}; {remedy}")
        info = storage.filesystem.get_file_info(storage.path(name))
        if info.type == fs.FileType.NotFound:
            raise UserError(f"{option} {path}: there is no such file; {remedy}")
        if info.type != fs.FileType.File:
            # Reading from a pipe or a device may block for ever.
            raise UserError(f"{option} {path}: is no regular file; {remedy}")
        if info.size > _MOST_BYTES:
            raise UserError(
                f"{option} {path}: has {info.size / 2**20:,.0f} MiB, more than the "
                f"{_MOST_BYTES >> 20} MiB read of such a file; {remedy}"
            )
        return storage.read_text(name)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{option} {path}: is no text in UTF-8 ({error.reason}); {remedy}"
        ) from None
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be read ({_reason(error)})") from None


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else first_line(error)


def stem(uri: str) -> str:
    """The last component of a path or URI, after which a file is named."""
    from distgan.storage.storage import last_name

    return last_name(uri).removesuffix(".parquet") or "run"
