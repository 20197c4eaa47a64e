"""Checkpoints: everything a run needs to go on as if it had never stopped.

A checkpoint is one file; ``index.json``, written after it, says which files are whole
and what they hash to. A process killed at any moment leaves the index pointing at whole
checkpoints only.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
from collections.abc import Callable
from typing import Any

import torch

from distgan.errors import UserError
from distgan.storage import Storage

FOLDER = "checkpoints"
INDEX = f"{FOLDER}/index.json"


def save(storage: Storage, state: dict[str, Any], keep: int) -> str:
    """Write a checkpoint, vouch for it in the index, then drop all but the last ``keep``.

    Args:
        state: nested dicts and lists of tensors, numbers and text, with ``images_seen``.

    Returns:
        the checkpoint's name inside the run.

    Raises:
        UserError: when the disk is full; earlier checkpoints stay.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    images = state["images_seen"]
    name = f"{FOLDER}/images-{images:012d}.pt"
    storage.write(name, content)
    entry = {"file": name, "images_seen": images, "sha256": _sha256(content)}
    entries = [old for old in index(storage) if old["images_seen"] < images]
    kept = [*entries, entry][-keep:]
    storage.write(INDEX, json.dumps(kept, indent=2) + "\n")
    names = {old["file"] for old in kept}
    for old in storage.names(FOLDER):
        if old.endswith(".pt") and f"{FOLDER}/{old}" not in names:
            storage.delete(f"{FOLDER}/{old}")
    return name


def index(storage: Storage) -> list[dict[str, Any]]:
    """The checkpoints that were written whole, oldest first."""
    if not storage.exists(INDEX):
        return []
    entries: list[dict[str, Any]] = json.loads(storage.read_text(INDEX))
    return entries


def load_newest(
    storage: Storage, note: Callable[[str], object] = warnings.warn
) -> dict[str, Any] | None:
    """The newest checkpoint that is whole, or None before the first one.

    A damaged one is passed over, and ``note`` is told.

    Nothing in the file can run: it is read with ``weights_only=True``.

    Raises:
        UserError: when there are checkpoints but all are damaged.
    """
    entries = index(storage)
    for entry in reversed(entries):
        name = entry["file"]
        content = storage.read(name) if storage.exists(name) else b""
        if _sha256(content) == entry["sha256"]:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content), map_location="cpu", weights_only=True
            )
            return state
        note(f"{storage.show(name)} is damaged or missing; using the one before")
    if not entries:
        return None
    raise UserError(
        f"{storage.uri}: holds no whole checkpoint to go on from; start a new run with --out"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
