"""The folder of a set while it is being made: whole at the end, or as it was before."""

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
"""Folder of the shards of a set that is being made; they move out once all are whole."""
_MOVED = f"{UNFINISHED}/files.json"
"""Names of what moves out, written before the first does: all that a kill may leave behind."""

_File = Annotated[
    str,
    Field(
        pattern=rf"^({VALIDATION}/)?(\w[\w-]{{0,99}}\.parquet|{MANIFEST}|{BAD_IMAGES})$|^{VALIDATION}$"
    ),
]


def refuse_occupied(storage: Storage, out: str) -> None:
    """See that nothing in the folder would be lost, or taken for a part of the set.

    Raises:
        UserError: when it holds a set, or files of another origin whose names a set needs.
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
    """A folder for shards in the making, which is gone at the end, whatever happens.

    The owner of the set is named in it. Tasks of an owner before, which wake up late, find
    another one named there, or nobody, and write nothing.

    Yields:
        the set's folder, written to for its owner.
    """
    try:
        storage = owner.claim(UNFINISHED)
        yield storage
    except BaseException:
        clear(storage)
        raise
    storage.delete_folder(UNFINISHED)


def announce(storage: Storage, files: Iterable[str]) -> None:
    """Write down, before the first shard moves out, what there will be of a set.

    Args:
        files: names of its shards, with the folder `VALIDATION` of those that go there.
    """
    names = list(files)
    folders = [f"{VALIDATION}/", ""] if any("/" in name for name in names) else [""]
    names = [f"{folder}{name}" for folder in folders for name in (MANIFEST, BAD_IMAGES)] + names
    if len(folders) > 1 and not storage.exists(VALIDATION):
        names.append(VALIDATION)
    storage.write(_MOVED, json.dumps(names, indent=2) + "\n")


def clear(storage: Storage) -> None:
    """Remove what an attempt that was killed has left, and nothing else.

    Raises:
        UserError: when the list of what it may have left is damaged.
    """
    if not storage.exists(UNFINISHED) or storage.exists(MANIFEST):
        return
    files: list[str] = []
    if storage.exists(_MOVED):
        remedy = f"delete {storage.show(UNFINISHED)} and the files of the set that is not whole"
        files = read_json(storage, _MOVED, list[_File], remedy)
    # First of all the manifests, with which the list begins: without them the rest is not a set.
    for file in files:
        still = f"{UNFINISHED}/{file.removeprefix(f'{VALIDATION}/')}"
        if file != VALIDATION and not storage.exists(still):
            storage.delete(file)
    if VALIDATION in files and storage.is_folder(VALIDATION) and not storage.names(VALIDATION):
        storage.delete_folder(VALIDATION)
    storage.delete_folder(UNFINISHED)
