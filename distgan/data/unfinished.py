"""The folder of a set while it is being made: complete at the end, else as before."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import Field

from distgan.data.manifest import MANIFEST
from distgan.errors import UserError
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage
from distgan.storage.textfiles import read_json

BAD_IMAGES = "bad-images.txt"
VALIDATION = "validation"
UNFINISHED = ".unfinished"
"""Folder of the shards of a set that is being made; they are moved when all are complete."""
_MOVED = f"{UNFINISHED}/files.json"
"""Names of the files to be moved, written before the first move, for removal after a kill."""

_File = Annotated[
    str,
    Field(
        pattern=rf"^({VALIDATION}/)?(\w[\w-]{{0,99}}\.parquet|{MANIFEST}|{BAD_IMAGES})$|^{VALIDATION}$"
    ),
]


def refuse_occupied(storage: Storage, out: str) -> None:
    """Check that the folder holds no file that would be overwritten or taken for part of the set.

    Raises:
        UserError: when it holds a set, or other files with names that a set uses.
    """
    if storage.exists(MANIFEST):
        raise UserError(f"--out {out}: already holds a prepared set; choose another folder")
    inner = storage.names(VALIDATION) if storage.is_folder(VALIDATION) else []
    if any(_of_a_set(name) for name in inner):
        raise UserError(
            f"--out {out}: its folder {VALIDATION}/ holds a set, where held-out images would go; "
            "choose another folder"
        )
    names = storage.names()
    others = [name for name in names if name.endswith(".parquet")]
    if others:
        raise UserError(
            f"--out {out}: holds {others[0]}, which would be taken for a part of the set; "
            "choose another folder"
        )
    if BAD_IMAGES in (*names, *inner):
        raise UserError(
            f"--out {out}: holds a {BAD_IMAGES}, which might be written anew; move it elsewhere, "
            "or choose another folder"
        )


def _of_a_set(name: str) -> bool:
    return name == MANIFEST or name.endswith(".parquet")


@contextlib.contextmanager
def unfinished(storage: Storage, owner: Ownership) -> Iterator[Storage]:
    """A context with a folder for shards being made, which is removed at the end in any case.

    The owner of the set is named in it. Tasks of a previous owner that are still running find
    another owner there, or none, and write nothing.

    Yields:
        the set's folder with ``owner`` set.
    """
    try:
        storage = owner.claim(UNFINISHED)
        yield storage
    except BaseException:
        clear(storage)
        raise
    storage.delete_folder(UNFINISHED)


def announce(storage: Storage, files: Iterable[str]) -> None:
    """Record the names of a set's files before the first shard is moved.

    Args:
        files: names of its shards; those of the validation set include the folder `VALIDATION`.
    """
    names = list(files)
    folders = [f"{VALIDATION}/", ""] if any("/" in name for name in names) else [""]
    names = [f"{folder}{name}" for folder in folders for name in (MANIFEST, BAD_IMAGES)] + names
    if len(folders) > 1 and not storage.exists(VALIDATION):
        names.append(VALIDATION)
    storage.write(_MOVED, json.dumps(names, indent=2) + "\n")


def clear(storage: Storage) -> None:
    """Remove the files of a killed attempt, and no others.

    Raises:
        UserError: when the list of these files is damaged.
    """
    if not storage.exists(UNFINISHED) or storage.exists(MANIFEST):
        return
    files: list[str] = []
    if storage.exists(_MOVED):
        remedy = f"delete {storage.show(UNFINISHED)} and the files of the set that is not whole"
        files = read_json(storage, _MOVED, list[_File], remedy)
    # Manifests are first in the list and are removed first: without them the rest is not a set.
    for file in files:
        still = f"{UNFINISHED}/{file.removeprefix(f'{VALIDATION}/')}"
        if file != VALIDATION and not storage.exists(still):
            storage.delete(file)
    if VALIDATION in files and storage.is_folder(VALIDATION) and not storage.names(VALIDATION):
        storage.delete_folder(VALIDATION)
    storage.delete_folder(UNFINISHED)
