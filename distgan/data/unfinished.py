"""The folder of a set while it is being made: whole at the end, or as it was before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from distgan.data.manifest import MANIFEST
from distgan.errors import UserError
from distgan.storage import Storage

BAD_IMAGES = "bad-images.txt"
VALIDATION = "validation"
UNFINISHED = ".unfinished"
"""Folder of the shards of a set that is being made; they move out once all are whole."""


def refuse_occupied(storage: Storage, out: str) -> None:
    """See that nothing in the folder would be lost, or taken for a part of the set.

    Raises:
        UserError: when it holds a set, or Parquet files of another origin.
    """
    if storage.exists(MANIFEST):
        raise UserError(f"--out {out}: already holds a prepared set; choose another folder")
    inner = storage.names(VALIDATION) if storage.is_folder(VALIDATION) else []
    if not storage.exists(UNFINISHED) and any(_of_a_set(name) for name in inner):
        raise UserError(
            f"--out {out}: its folder {VALIDATION}/ holds a set, where held-out images would go; "
            "choose another folder"
        )
    if storage.exists() and not storage.filesystem.get_file_info(storage.path()).is_file:
        others = [name for name in storage.names() if name.endswith(".parquet")]
        if not others or storage.exists(UNFINISHED):
            return
        raise UserError(
            f"--out {out}: holds {others[0]}, which would be taken for a part of the set; "
            "choose another folder"
        )


def _of_a_set(name: str) -> bool:
    return name == MANIFEST or name.endswith(".parquet")


@contextlib.contextmanager
def unfinished(storage: Storage) -> Iterator[None]:
    """A folder for shards in the making, which is gone at the end, whatever happens."""
    there = storage.exists()
    _clear(storage)
    storage.child(UNFINISHED).make()
    try:
        yield
    except BaseException:
        _clear(storage)
        if not there and not storage.names():
            storage.delete_folder()
        raise
    storage.delete_folder(UNFINISHED)


def _clear(storage: Storage) -> None:
    """Remove what an attempt that was killed has left."""
    if not storage.exists(UNFINISHED) or storage.exists(MANIFEST):
        return
    for folder in ("", f"{VALIDATION}/"):
        # First of all the manifest: without it the rest is not a set.
        storage.delete(f"{folder}{MANIFEST}")
        for name in [*storage.names(folder.rstrip("/")), BAD_IMAGES]:
            if name == BAD_IMAGES or name.endswith(".parquet"):
                storage.delete(f"{folder}{name}")
    if storage.exists(VALIDATION) and not storage.names(VALIDATION):
        storage.delete_folder(VALIDATION)
    storage.delete_folder(UNFINISHED)
