"""Rebuilds a missing index of checkpoints, and clears what killed writers left of their files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from distgan.errors import UserError
from distgan.runs.checkpoint import (
    FOLDER,
    INDEX,
    describe,
    files,
    index,
    read_checkpoint,
    read_or_missing,
)
from distgan.runs.records import EVENTS
from distgan.storage.storage import Storage


def recover_index(storage: Storage, note: Callable[[str], object]) -> None:
    """Rebuild the index, where it is missing, empty or damaged, from the checkpoints that load.

    Nothing is deleted: files that do not load stay, and ``note`` gets a line about them.

    Args:
        note: takes a line for the user.

    Raises:
        UserError: when there are checkpoints without an index and none of them loads, a damaged
            index without any checkpoint, or a checkpoint that is there and cannot be read now.
    """
    damage: UserError | None = None
    try:
        if index(storage):
            return
    except UserError as error:
        damage = error
    found, lost = _load_all(storage)
    if not found and lost:
        raise UserError(
            f"{storage.show(INDEX)}: is missing or damaged, and no checkpoint loads without it "
            f"({'; '.join(lost)}); put back the files that the run wrote"
        )
    if not found:
        if damage is not None:
            raise damage
        return
    storage.write(INDEX, json.dumps(found, indent=2) + "\n")
    was = "damaged" if damage is not None else "missing or empty"
    note(f"{storage.show(INDEX)} was {was}; made anew of {len(found)} checkpoints that load")
    for reason in lost:
        note(f"left alone, as it does not load: {reason}")


def clear_unfinished(storage: Storage) -> None:
    """Remove the files that killed workers of a run were writing.

    To be called when no worker of this owner is left. A folder that cannot be reached, or has
    got another owner, stays as it is: the next start clears it.
    """
    for folder in ("", FOLDER, "samples", EVENTS):
        with contextlib.suppress(OSError, UserError):
            storage.clear_unfinished(folder)


def _load_all(storage: Storage) -> tuple[list[dict[str, Any]], list[str]]:
    """Index entries of the checkpoints that load, oldest first, and why the others do not."""
    found, lost = [], []
    for name in files(storage):
        file = f"{FOLDER}/{name}"
        try:
            content = read_or_missing(storage, file)
        except (FileNotFoundError, NotADirectoryError):
            lost.append(f"{storage.show(file)}: is gone")
            continue
        try:
            entry = describe(file, content, read_checkpoint(content, storage.show(file)))
        except UserError as error:
            lost.append(str(error))
        else:
            found.append(entry)
    return sorted(found, key=lambda entry: int(entry["images_seen"])), lost
