"""Files that verbs write into the current folder."""

from __future__ import annotations


def write_file(path: str, content: bytes) -> None:
    """Write a file whole, at a path or URI."""
    from distgan.storage import Storage

    folder, _, name = path.rpartition("/")
    Storage(folder or ("/" if path.startswith("/") else ".")).write(name, content)


def stem(uri: str) -> str:
    """The last name of a path or URI, to name a file after."""
    return uri.rstrip("/").rsplit("/", 1)[-1].removesuffix(".parquet") or "run"
