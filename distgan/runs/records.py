"""Records of a run: ``metrics.jsonl`` and TensorBoard events."""

from __future__ import annotations

import json
import math
import struct
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distgan.storage.scratch import Scratch
from distgan.storage.storage import AppendLog, Storage
from distgan.storage.textfiles import Shape, read_lines

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"

_QUEUE = 10_000
"""TensorBoard events that may be queued: more than several records hold, so adding never waits."""

Record = dict[str, Any]
"""Numbers, texts, and dicts of them; ``images`` is the number of images seen."""


class Recorder:
    """Appends records to a run, continuing after the one at ``images_seen``.

    Records past that point, from a run that was killed after its last checkpoint, are removed, as
    the run repeats them. So are interim ones, written when a run is stopped between two records,
    as the next record covers their images too.
    """

    def __init__(self, storage: Storage, images_seen: int) -> None:
        self._storage = storage
        found = read(storage)
        self.furthest = found[-1]["images"] if found else 0
        """Images seen at the last record in the file, removed or not."""
        kept = [r for r in found if r["images"] <= images_seen and not r.get("interim")]
        if storage.exists(METRICS):
            storage.write(METRICS, "".join(json.dumps(record) + "\n" for record in kept))
        self._log = AppendLog(storage, METRICS)
        self._events = _Events(storage, images_seen)

    def add(self, record: Record) -> None:
        """Write one record, whose ``images`` is the number of images seen."""
        self._log.append(json.dumps(_finite(record)))
        self._events.add(record["images"], record)

    def add_scalars(self, images: int, values: dict[str, float]) -> None:
        """Write numbers to TensorBoard only, which are recorded in another file."""
        self._events.add(images, values)

    def add_text(self, images: int, name: str, text: str) -> None:
        """Write preformatted text to TensorBoard only."""
        # Markdown takes lines that are indented for code.
        shown = textwrap.indent(text, "    ")
        self._events.add_later(lambda writer: writer.add_text(name, shown, images))

    def add_picture(self, images: int, name: str, png: bytes) -> None:
        """Write a PNG to TensorBoard only."""
        self._events.add_later(lambda writer: _add_picture(writer, name, png, images))

    def publish(self) -> None:
        """Flush everything to the storage."""
        self._log.publish()
        self._events.publish()

    def close(self) -> None:
        """Flush and close the files."""
        self._log.close()
        self._events.close()


class _Events:
    """TensorBoard events. After a failed write they are written again from the records."""

    def __init__(self, storage: Storage, images_seen: int) -> None:
        self._storage = storage
        self._purge_from = images_seen + 1 if images_seen else None
        self._remote = None if storage.local else Scratch("distgan-events-")
        self._open: SummaryWriter | None = None
        self._lost = False
        self._waiting: list[Callable[[SummaryWriter], object]] = []

    def add_later(self, write: Callable[[SummaryWriter], object]) -> None:
        """Have something written with the next record, as to open the file may take a second.

        What a failed write loses of these is not written again.
        """
        self._waiting.append(write)

    def add(self, images: int, values: Record) -> None:
        try:
            writer = self._writer(images)
            _add(writer, images, values)
            for write in self._waiting:
                write(writer)
            self._waiting = []
        except OSError:
            self._open, self._lost = None, True

    def _writer(self, images: int) -> SummaryWriter:
        # A failed write has ended the library's thread; adding to its full queue would block for
        # ever.
        if self._open is not None and not self._open.file_writer.event_writer._worker.is_alive():
            self._open, self._lost = None, True
        if self._open is None:
            # Imported late: it takes a second, which would delay the first update.
            from tensorboardX import SummaryWriter

            folder = self._remote.path if self._remote else self._storage.path(EVENTS)
            again = [r for r in read(self._storage) if r["images"] < images] if self._lost else []
            purge_from = 1 if self._lost else self._purge_from
            self._open = SummaryWriter(folder, purge_step=purge_from, max_queue=_QUEUE)
            for record in again:
                _add(self._open, record["images"], record)
            self._lost = False
        return self._open

    def publish(self) -> None:
        # Also called from the thread that writes checkpoints, while the loop may reset _open.
        writer = self._open
        if writer is not None:
            try:
                writer.flush()
            except OSError:
                self._open, self._lost = None, True
        if self._remote is not None:
            for file in Path(self._remote.path).glob("events*"):
                self._storage.write(f"{EVENTS}/{file.name}", file.read_bytes())

    def close(self) -> None:
        if self._waiting and self._open is not None:
            # The last grid is drawn after the last record.
            self.add(0, {})
        self.publish()
        if self._open is not None:
            self._open.close()
        if self._remote is not None:
            self._remote.close()


def _add(writer: SummaryWriter, images: int, values: Record) -> None:
    from tensorboardX.proto.summary_pb2 import Summary

    scalars = []
    for name, value in _flat(values):
        if isinstance(value, str):
            writer.add_text(name, value, images)
        elif name != "images" and isinstance(value, (int, float)) and math.isfinite(value):
            scalars.append(Summary.Value(tag=name, simple_value=value))
    # One event for all scalars: one for each takes more than twice as long.
    if scalars:
        writer.file_writer.add_summary(Summary(value=scalars), images)


def _add_picture(writer: SummaryWriter, name: str, png: bytes, images: int) -> None:
    from tensorboardX.proto.summary_pb2 import Summary

    # The header of a PNG: width and height, then after a byte 0 for grey and 2 for RGB.
    width, height = struct.unpack(">II", png[16:24])
    channels = 1 if png[25] == 0 else 3
    picture = Summary.Image(
        height=height, width=width, colorspace=channels, encoded_image_string=png
    )
    writer.file_writer.add_summary(Summary(value=[Summary.Value(tag=name, image=picture)]), images)


def _flat(record: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _finite(value: Any) -> Any:
    # JSON has neither NaN nor infinity.
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _Record(Shape):
    images: int


def read(storage: Storage) -> list[dict[str, Any]]:
    """All records of a run; an incomplete last line, left by a kill, is ignored.

    Raises:
        UserError: for a file that is damaged otherwise.
    """
    remedy = "put back the file that the run wrote, or delete the line"
    return read_lines(storage, METRICS, _Record, remedy, cut=True)
