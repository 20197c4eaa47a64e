"""Reads the files of a run, also of one that another version wrote."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distgan.config.shape import ImageShape
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.families import DataSpec
from distgan.families.base import MOST_ROWS, SHEET_ROWS_OF_DATA
from distgan.families.clip_family import SHEET_CLIPS
from distgan.families.registry import FAMILIES, build, translates
from distgan.families.translation import Translation
from distgan.metrics.names import AUTOENCODER_METRICS
from distgan.runs import events, records
from distgan.runs import folder as run
from distgan.storage.storage import Storage, parted
from distgan.storage.textfiles import parse_yaml, read_text

_ANY = ImageShape(3, 64, 64)


@dataclass(frozen=True)
class RunFolder:
    """The contents of one run's files; a missing file gives an empty field."""

    name: str
    """Short name, unique among the runs of the report."""
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
    def rows(self) -> tuple[str, ...]:
        """Names of the rows of a sample grid: the classes of a conditional run's data, and what
        an encoder was shown; or inputs, outputs and targets; or the class of every film strip.

        Empty where the data is not within reach, or has more classes than a grid has rows.
        """
        if self.translated:
            return self.translated
        if self.settings.get("conditional") is not True:
            return ()
        try:
            classes = open_images(str(self.settings.get("data"))).classes
        except (UserError, OSError):
            return ()
        if self.makes_clips:
            return tuple(itertools.islice(itertools.cycle(classes), SHEET_CLIPS if classes else 0))
        if len(classes) > MOST_ROWS:
            return ()
        _, family = FAMILIES.get(str(self.settings.get("family", "gan")), (None, None))
        encodes = family is not None and set(family.metrics) & set(AUTOENCODER_METRICS)
        return (*classes, *(SHEET_ROWS_OF_DATA if encodes else ()))

    @property
    def makes_clips(self) -> bool:
        """Whether its samples are film strips, a clip in every row."""
        _, family = FAMILIES.get(str(self.settings.get("family", "gan")), (None, None))
        return family is not None and family.makes_clips

    @property
    def counted(self) -> str:
        """What it counts as it goes: images, or clips."""
        return "clips" if self.makes_clips else "images"

    @property
    def translated(self) -> tuple[str, ...]:
        """Of a run that makes images of images the rows of a sample grid: first ``input`` and
        ``output``. Empty for other runs, and for settings of another version."""
        if not translates(str(self.settings.get("family", "gan"))):
            return ()
        try:
            # The shape decides nothing here, but has to suit every task.
            family = build(run.load_config(self.storage, "RUN"), DataSpec(_ANY, (), _ANY, _ANY))
        except UserError:
            return ()
        return family.sheet_rows if isinstance(family, Translation) else ()

    @property
    def images_seen(self) -> int:
        """Of the newest record, or 0."""
        return int(self.records[-1]["images"]) if self.records else 0


def read_runs(uris: Sequence[str]) -> list[RunFolder]:
    """Read every run, in the order given.

    Raises:
        UserError: for a folder that is not a run, one given twice, or a damaged file.
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
        starts=run.starts(storage),
        records=_by_images(records.read(storage)),
        evaluations=_by_images(evaluation.read(storage)),
        events=events.read(storage),
    )


def _settings(storage: Storage) -> dict[str, Any]:
    text = read_text(storage, run.CONFIG, run.CONFIG_REMEDY)
    return dict(_leaves(parse_yaml(text, storage.show(run.CONFIG), run.CONFIG_REMEDY), ""))


def _leaves(tree: dict[Any, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        found += _leaves(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return found


def _by_images(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: float(entry["images"]))


def _short_names(uris: Sequence[str]) -> list[str]:
    """The fewest last components of each address that make all of them different."""
    parts = [parted(Storage(uri).anywhere())[0].rstrip("/").split("/") for uri in uris]
    for uri, own in zip(uris, parts, strict=True):
        if parts.count(own) > 1:
            raise UserError(f"RUN {uri}: is given twice; name each run once")
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(names):
            break
    return names
