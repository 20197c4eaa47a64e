"""Files that verbs read and write by the path or URI a user gives."""

from __future__ import annotations

from distgan.errors import UserError


def write_file(path: str, content: bytes) -> None:
    """Write a file whole."""
    from distgan.storage import last_name, split

    storage, name = split(path)
    storage.write(name or last_name(path), content)


def read_file(path: str, option: str, remedy: str) -> str:
    """The text of a file.

    Raises:
        UserError: when there is none, naming the ``option`` that pointed to it.
    """
    from distgan.storage import split

    storage, name = split(path)
    if not name or not storage.exists(name):
        raise UserError(f"{option} {path}: there is no such file; {remedy}")
    return storage.read_text(name)


def stem(uri: str) -> str:
    """The last name of a path or URI, to name a file after."""
    from distgan.storage import last_name

    return last_name(uri).removesuffix(".parquet") or "run"
