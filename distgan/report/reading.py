"""What a run's folder says, read without demanding that this version wrote it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from distgan import events, records, run
from distgan.errors import UserError
from distgan.storage import Storage, parted

EVALUATIONS = "evaluations.jsonl"


@dataclass(frozen=True)
class RunFolder:
    """One run as its files tell it; whatever is missing there is empty here."""

    name: str
    """Short, and different from the other runs' of the report."""
    storage: Storage
    settings: dict[str, Any]
    """The leaves of ``config.yaml`` by dotted name."""
    starts: list[dict[str, Any]]
    """Of ``environment.json``, oldest first."""
    records: list[dict[str, Any]]
    """Of ``metrics.jsonl``, by images seen."""
    evaluations: list[dict[str, Any]]
    """Of ``evaluations.jsonl``, by images seen."""
    events: list[dict[str, Any]]
    """Of ``events.jsonl``, oldest first."""

    @property
    def images_seen(self) -> int:
        """Of the newest record, or 0."""
        return int(self.records[-1]["images"]) if self.records else 0


def read_runs(uris: Sequence[str]) -> list[RunFolder]:
    """Read every run, in the order given.

    Raises:
        UserError: for a folder that is no run, one given twice, or a file that is damaged.
    """
    names = _short_names(uris)
    return [_read(uri, name) for uri, name in zip(uris, names, strict=True)]


def finite(value: Any) -> float | None:
    """A finite number as float; anything else, booleans too, is None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _read(uri: str, name: str) -> RunFolder:
    storage = Storage(uri)
    run.require(storage, "RUN")
    return RunFolder(
        name,
        storage,
        settings=_settings(storage),
        starts=_starts(storage),
        records=_by_images(_decoded(storage, records.METRICS, records.read)),
        evaluations=_by_images(_decoded(storage, EVALUATIONS, _evaluations)),
        events=_decoded(storage, events.LOG, _events),
    )


def _decoded(
    storage: Storage, name: str, read: Callable[[Storage], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    try:
        return read(storage)
    except UnicodeDecodeError:
        raise UserError(
            f"{storage.show(name)}: is damaged (not UTF-8); delete it, and the report leaves out "
            "what it held"
        ) from None


def _settings(storage: Storage) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(storage.read_text(run.CONFIG))
    except (yaml.YAMLError, UnicodeDecodeError):
        tree = None
    if not isinstance(tree, dict):
        raise UserError(
            f"{storage.show(run.CONFIG)}: is damaged (no mapping of settings); put back the file "
            "that `distgan train` wrote"
        )
    return dict(_leaves(tree, ""))


def _leaves(tree: dict[Any, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found += _leaves(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found


def _starts(storage: Storage) -> list[dict[str, Any]]:
    if not storage.exists(run.ENVIRONMENT):
        return []
    try:
        starts = json.loads(storage.read_text(run.ENVIRONMENT))["starts"]
        return [start for start in starts if isinstance(start, dict)]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{storage.show(run.ENVIRONMENT)}: is damaged (no list of starts); delete it, and the "
            "report leaves out hardware and versions"
        ) from None


def _evaluations(storage: Storage) -> list[dict[str, Any]]:
    if not storage.exists(EVALUATIONS):
        return []
    found = []
    for number, line in enumerate(storage.read_text(EVALUATIONS).splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError:
            break  # the line that a kill cut off
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("card"), dict)
            and isinstance(entry.get("values"), dict)
        ):
            raise UserError(
                f"{storage.show(EVALUATIONS)}: line {number} has no card and values; delete the "
                "line, or evaluate again"
            )
        found.append(entry)
    return found


def _events(storage: Storage) -> list[dict[str, Any]]:
    try:
        found: list[Any] = events.read(storage)
    except ValueError:
        raise UserError(
            f"{storage.show(events.LOG)}: is damaged (a line is no JSON); delete it, and the "
            "report leaves out what befell the run"
        ) from None
    return [event for event in found if isinstance(event, dict)]


def _by_images(entries: list[Any]) -> list[dict[str, Any]]:
    whole = [e for e in entries if isinstance(e, dict) and finite(e.get("images")) is not None]
    return sorted(whole, key=lambda entry: float(entry["images"]))


def _short_names(uris: Sequence[str]) -> list[str]:
    """The fewest last parts of each address that tell all of them apart."""
    parts = [parted(Storage(uri).anywhere())[0].rstrip("/").split("/") for uri in uris]
    for uri, own in zip(uris, parts, strict=True):
        if parts.count(own) > 1:
            raise UserError(f"RUN {uri}: is given twice; name each run once")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            break
    return names
