"""Records of a run: ``metrics.jsonl`` and TensorBoard events."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distgan.storage import AppendLog, Storage

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"

Record = dict[str, Any]
"""Numbers, texts, and dicts of them; ``images`` says after how many."""


class Recorder:
    """Appends records to a run, going on after the one at ``images_seen``.

    Records past that point, from a run that was killed after its last checkpoint, are
    dropped: they will be made again.
    """

    def __init__(self, storage: Storage, images_seen: int) -> None:
        self._storage = storage
        kept = [record for record in read(storage) if record["images"] <= images_seen]
        if storage.exists(METRICS):
            storage.write(METRICS, "".join(json.dumps(record) + "\n" for record in kept))
        self._log = AppendLog(storage, METRICS)
        self._purge_from = images_seen + 1 if images_seen else None
        self._remote = None if storage.local else Path(tempfile.mkdtemp(prefix="distgan-"))
        self._events: SummaryWriter | None = None

    def add(self, record: Record) -> None:
        """Write one record, which names the images seen as ``images``."""
        self._log.append(json.dumps(_finite(record)))
        events = self._writer()
        for name, value in _flat(record):
            if isinstance(value, str):
                events.add_text(name, value, record["images"])
            elif name != "images" and math.isfinite(value):
                events.add_scalar(name, value, record["images"])

    def add_scalars(self, images: int, values: dict[str, float]) -> None:
        """Write numbers that are kept elsewhere as TensorBoard events."""
        for name, value in values.items():
            if math.isfinite(value):
                self._writer().add_scalar(name, value, images)

    def _writer(self) -> SummaryWriter:
        if self._events is None:
            # Imported late: it costs a second that the first update need not wait for.
            from tensorboardX import SummaryWriter

            folder = self._remote or self._storage.path(EVENTS)
            self._events = SummaryWriter(str(folder), purge_step=self._purge_from)
        return self._events

    def publish(self) -> None:
        """Make everything visible in the storage."""
        self._log.publish()
        if self._events is not None:
            self._events.flush()
        if self._remote is not None:
            for file in self._remote.iterdir():
                self._storage.write(f"{EVENTS}/{file.name}", file.read_bytes())

    def close(self) -> None:
        """Publish and let go of the files."""
        self.publish()
        self._log.close()
        if self._events is not None:
            self._events.close()
        if self._remote is not None:
            shutil.rmtree(self._remote)


def _flat(record: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _finite(value: Any) -> Any:
    # JSON knows neither NaN nor infinity.
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(storage: Storage) -> list[dict[str, Any]]:
    """All records of a run; a last line cut off by a kill is left out."""
    if not storage.exists(METRICS):
        return []
    records = []
    for line in storage.read_text(METRICS).splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
