"""Checkpoints: the state with which a resumed run continues to the bit as if it had not stopped.

A checkpoint is one file; ``index.json``, written after it, lists the complete files with their
hashes. A process killed at any moment leaves an index that lists complete checkpoints only.
`Writer` writes them in a thread beside the training, `save` synchronously.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Annotated, Any

import torch
from pydantic import Field

from distgan.config.settings import Count
from distgan.errors import UserError, brief, first_line
from distgan.parallel import World
from distgan.runs.snapshot import begin_snapshot
from distgan.storage.storage import Storage
from distgan.storage.textfiles import Shape, read_json

FOLDER = "checkpoints"
INDEX = f"{FOLDER}/index.json"
FORMAT = 2
"""Of the state in a checkpoint's file. The first had no networks by role."""


class _Entry(Shape):
    """A checkpoint in the index; its file must be inside `FOLDER`."""

    file: Annotated[str, Field(pattern=rf"^{FOLDER}/\w[\w.-]{{0,99}}\.pt$")]
    images_seen: Count
    sha256: str
    healthy: bool = True
    score: float | None = None
    score_of: str = ""


class Writer:
    """Writes checkpoints in a thread of its own, one at a time, while training goes on.

    To be used as a context manager, which at its end waits for the checkpoint being written,
    also after an exception. An error in the thread is raised once, by the next call of any
    method; if the block is left by another exception, it is passed to ``note`` instead.

    Args:
        keep: how many of the newest checkpoints are kept.
        note: takes a line for the user.
    """

    def __init__(
        self, storage: Storage, keep: int, note: Callable[[str], object] = warnings.warn
    ) -> None:
        self._storage, self._keep, self._note = storage, keep, note
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._in_flight: Future[None] | None = None

    def save(self, state: dict[str, Any], first: Callable[[], object] = lambda: None) -> None:
        """Copy ``state`` and begin to write it as a checkpoint; see `save` below.

        Waits first until the previous one is written.

        Args:
            first: called in the thread, before anything is written.

        Raises:
            UserError: when the previous checkpoint could not be written.
        """
        self.wait()
        self._in_flight = self._thread.submit(self._write, *begin_snapshot(state), first)

    def check(self) -> None:
        """Raise the error of a failed checkpoint, without waiting for one being written.

        Raises:
            UserError: when the last checkpoint could not be written.
        """
        if self._in_flight is not None and self._in_flight.done():
            self.wait()

    def wait(self) -> None:
        """Wait until no checkpoint is being written.

        Raises:
            UserError: when the last checkpoint could not be written.
        """
        if self._in_flight is not None:
            written, self._in_flight = self._in_flight, None
            written.result()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except Exception as failure:
            if error is None:
                raise
            self._note(f"the last checkpoint is missing: {failure}")
        finally:
            self._thread.shutdown()

    def _write(
        self, state: dict[str, Any], arrived: Callable[[], object], first: Callable[[], object]
    ) -> None:
        arrived()
        first()
        save(self._storage, state, self._keep)


def save(storage: Storage, state: dict[str, Any], keep: int) -> str:
    """Write a checkpoint, add it to the index, then remove all but the last ``keep``.

    Args:
        state: nested dicts and lists of tensors, numbers and text, with ``images_seen``;
            ``healthy`` (default true) is false for one that a rollback must not use, and
            ``score`` is the evaluated cost of its generator, lower is better.
        keep: how many of the newest are kept, in addition to the newest healthy and the best
            one. Checkpoints of more images are removed from the index, but not their files.

    Returns:
        the checkpoint's name inside the run.

    Raises:
        UserError: when the disk is full; earlier checkpoints stay.
    """
    # Serialised to memory first: hashing and writing piece by piece would wait for the global
    # interpreter lock at each of hundreds of pieces.
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    content = buffer.getbuffer()
    images = state["images_seen"]
    name = f"{FOLDER}/images-{images:012d}.pt"
    storage.write(name, content)
    # Checkpoints of more images could not be read when the run was resumed; their files are kept,
    # as they may be readable again later.
    before = [old for old in index(storage) if old["images_seen"] <= images]
    entries = [old for old in before if old["images_seen"] < images]
    entries.append(describe(name, content, state))
    wanted = [*entries[-keep:], *_newest_healthy(entries), *_best(entries)]
    _keep_only(storage, [entry for entry in entries if entry in wanted], before)
    return name


def describe(name: str, content: bytes | memoryview, state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's entry in the index: its file's name, hash, and fields of ``state``."""
    return {
        "file": name,
        "images_seen": state["images_seen"],
        "sha256": hashlib.sha256(content).hexdigest(),
        "healthy": state.get("healthy", True),
        "score": state.get("score"),
        "score_of": state.get("score_of", ""),
    }


def files(storage: Storage) -> list[str]:
    """Names of the checkpoints in `FOLDER`, whether the index lists them or not."""
    return [
        name
        for name in storage.names(FOLDER)
        if name.endswith(".pt") and not storage.is_folder(f"{FOLDER}/{name}")
    ]


def _newest_healthy(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry.get("healthy", True)][-1:]


def _best(entries: list[dict[str, Any]], of: str | None = None) -> list[dict[str, Any]]:
    # Scores of different metrics or cards are not comparable; by default the newest kind is used.
    scored = [entry for entry in entries if entry.get("score") is not None]
    of = scored[-1].get("score_of", "") if scored and of is None else of
    alike = [entry for entry in scored if entry.get("score_of", "") == of]
    return sorted(alike, key=lambda entry: float(entry["score"]))[:1]


def best_score(storage: Storage, of: str | None = None) -> float:
    """The lowest ``score`` (a cost) among the checkpoints in the index; infinite without any.

    Args:
        of: the metric and its card; None for those of the newest score.
    """
    found = _best(index(storage), of)
    return float(found[0]["score"]) if found else float("inf")


def adopt(storage: Storage, entry: dict[str, Any], content: bytes) -> None:
    """Replace all checkpoints of a run by one of another run.

    Args:
        entry: from the other run's `index`.
        content: of the checkpoint's file.

    Raises:
        UserError: when it cannot be written; then nothing has changed.
    """
    before = index(storage)
    storage.write(entry["file"], content)
    _keep_only(storage, [entry], before)


def forget_after(storage: Storage, images_seen: int) -> None:
    """Remove the checkpoints of more than ``images_seen`` images."""
    before = index(storage)
    _keep_only(storage, [old for old in before if old["images_seen"] <= images_seen], before)


def _keep_only(
    storage: Storage, entries: list[dict[str, Any]], before: list[dict[str, Any]]
) -> None:
    # Only files that the index listed are deleted.
    names = {entry["file"] for entry in entries}
    files = sorted({entry["file"] for entry in before} - names, reverse=True)
    if not entries:
        # Files are deleted before the index is written: an empty index with files beside it is
        # taken for a damaged one and made anew from them (`distgan.runs.recovery`).
        for file in files:
            storage.delete(file)
    storage.write(INDEX, json.dumps(entries, indent=2) + "\n")
    for file in files if entries else ():
        storage.delete(file)


def index(storage: Storage) -> list[dict[str, Any]]:
    """The entries of the completely written checkpoints, oldest first.

    Raises:
        UserError: for an index that is damaged, or that names files outside of `FOLDER`.
    """
    if not storage.exists(INDEX):
        return []
    remedy = "put back the file that the run wrote, or start a new run with --out"
    entries: list[dict[str, Any]] = read_json(storage, INDEX, list[_Entry], remedy)
    return sorted(entries, key=lambda entry: int(entry["images_seen"]))


def load_newest(
    storage: Storage, note: Callable[[str], object] = warnings.warn, *, healthy: bool = False
) -> dict[str, Any] | None:
    """The newest undamaged checkpoint, or None before the first one.

    A damaged one is skipped and not deleted, and ``note`` gets a line about it. Files are read
    with ``weights_only=True``, so that they cannot run code.

    Args:
        healthy: skip also those that were written while the run was not healthy.

    Raises:
        UserError: when there are checkpoints but all are damaged, or one cannot be read now.
    """
    entries = [entry for entry in index(storage) if entry.get("healthy", True) or not healthy]
    for entry in reversed(entries):
        name = entry["file"]
        content = _content(storage, name)
        if hashlib.sha256(content).hexdigest() == entry["sha256"]:
            return read_checkpoint(content, storage.show(name))
        note(f"{storage.show(name)} is damaged or missing; using the one before")
    if not entries:
        if not storage.exists(INDEX) and files(storage):
            raise UserError(
                f"{storage.show(INDEX)}: is missing, though there are checkpoints; `distgan train "
                "--resume` makes it anew"
            )
        return None
    raise UserError(
        f"{storage.uri}: holds no whole checkpoint to go on from; start a new run with --out"
    )


def _content(storage: Storage, name: str) -> bytes:
    # A missing file or a folder is damage, and skipped. A failing read is an error: the file may
    # be whole, and skipping it would lose what was trained since the one before.
    try:
        return read_or_missing(storage, name)
    except (FileNotFoundError, NotADirectoryError):
        return b""


def read_or_missing(storage: Storage, name: str) -> bytes:
    """The content of a checkpoint's file.

    Raises:
        FileNotFoundError, NotADirectoryError: when there is none, or a folder.
        UserError: when it is there, and cannot be read.
    """
    try:
        if storage.is_folder(name):
            raise FileNotFoundError(f"{storage.show(name)}: is a folder")
        return storage.read(name)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UserError(
            f"{storage.show(name)}: cannot be read ({first_line(error)}); see to the storage, "
            "then go on with --resume"
        ) from error


def read_checkpoint(content: bytes, source: str) -> dict[str, Any]:
    """The state in a checkpoint's file: tensors, numbers and text. No code in it can run.

    Args:
        source: how errors name the file.

    Raises:
        UserError: when it is not a checkpoint.
    """
    remedy = "get the run from somebody you trust"
    try:
        state: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # The library may raise any exception for a foreign file.
        raise UserError(
            f"{source}: is not a checkpoint of tensors and numbers alone, and was not read "
            f"({first_line(error, 120)}); {remedy}"
        ) from None
    if not isinstance(state, dict) or type(state.get("images_seen")) is not int:
        raise UserError(f"{source}: is no checkpoint of a run (no images_seen); {remedy}")
    if state.get("format") != FORMAT:
        raise UserError(
            f"{source}: is of format {brief(state.get('format', 1))}, and this distgan reads "
            f"{FORMAT}; go on with the distgan that wrote it"
        )
    return state


def load_together(
    storage: Storage, world: World, note: Callable[[str], object], *, healthy: bool = False
) -> dict[str, Any] | None:
    """`load_newest`, the same one on all ranks; all ranks must call it.

    A shared filesystem may show a new file to another machine seconds late, so differing ranks
    retry.

    Raises:
        UserError: when ranks still see different checkpoints after that, or as `load_newest`.
    """
    for pause in (*_PAUSES, None):
        saved: dict[str, Any] | None = None
        damage: UserError | None = None
        try:
            saved = load_newest(storage, note, healthy=healthy)
        except UserError as error:
            # Perhaps on this rank only, which sees the index before the files.
            damage = error
        found = -1 if saved is None else saved["images_seen"]
        seen = world.gather(None if damage is not None else found)
        if damage is not None and set(seen) == {None}:
            raise damage
        if len(set(seen)) == 1:
            return saved
        if pause is not None:
            time.sleep(pause)
    raise UserError(
        f"{storage.uri}: does not show the same checkpoints to all workers (their newest are at "
        f"{', '.join(map(_count, seen))} images); use a filesystem that all nodes "
        "share, or an address such as s3://"
    )


def _count(images: int | None) -> str:
    return "no" if images is None or images < 0 else f"{images:,}"


_PAUSES = (1, 2, 4, 8, 16, 30)
"""Seconds between retries; about a minute in all, as long as NFS caches a folder by default."""
