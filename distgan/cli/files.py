"""Files that verbs read and write by the path or URI a user gives."""

from __future__ import annotations

from distgan.errors import UserError


def write_file(path: str, content: bytes) -> None:
    """Write a file whole."""
    from distgan.storage import split

    storage, name = split(path)
    storage.write(name or path.rpartition("/")[2], content)


def read_file(path: str, option: str, remedy: str) -> str:
    """The text of a file.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    from distgan.storage import split
    from distgan.textfiles import read_text

    storage, name = split(path)
    if not name or not storage.exists(name):
        raise UserError(f"{option} {path}: there is no such file; {remedy}")
    return read_text(storage, name, remedy)


def stem(uri: str) -> str:
    """The last name of a path or URI, to name a file after."""
    return uri.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet") or "run"
