"""The manifest of a prepared set: what is in it, and how it was made."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from distgan import settings
from distgan.errors import UserError
from distgan.settings import SETTINGS
from distgan.storage import Storage

MANIFEST = "manifest.json"
FORMAT = 2

_AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=SETTINGS)
class Shard:
    """One Parquet file of a set."""

    name: str
    count: int
    bytes: int
    sha256: str


@dataclass(frozen=True, config=SETTINGS)
class Manifest:
    """What is in a prepared set. A folder with one holds a finished set."""

    format: int
    """2; an older or newer one is refused."""
    count: _AtLeastOne
    """Images in all shards."""
    height: _AtLeastOne
    width: _AtLeastOne
    channels: _AtLeastOne
    classes: tuple[str, ...]
    """Names of the labels 0, 1, ...; empty without labels."""
    class_counts: tuple[int, ...]
    """Images of each class."""
    mean: tuple[float, ...]
    """Mean of each channel over all pixels, in [0, 1], to six places."""
    files: tuple[Shard, ...]
    """In the order of the images."""
    schema: str
    """The Arrow schema of every shard, as Arrow prints it."""
    skipped: int
    """Bad images left out; bad-images.txt lists them."""
    source: dict[str, Any]
    """Kind of source, split, and the options that it was made with."""


def read(storage: Storage) -> Manifest | None:
    """The manifest of a set, or None where there is none.

    Raises:
        UserError: when it is damaged, or of another format.
    """
    if not storage.exists(MANIFEST):
        return None
    where = storage.show(MANIFEST)
    try:
        values = json.loads(storage.read_text(MANIFEST))
        version = values["format"]
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"{where}: not a manifest of a set (damaged JSON or no format); make the set again"
        ) from None
    if version != FORMAT:
        remedy = (
            "this distgan is too old for it, update it"
            if isinstance(version, int) and version > FORMAT
            else "make the set again with `distgan data prepare`"
        )
        raise UserError(f"{where}: of format {version!r}, not {FORMAT}; {remedy}")
    return settings.from_dict(Manifest, values, where)


def write(storage: Storage, manifest: Manifest) -> None:
    """Write the manifest, which makes the set a finished one."""
    values = dataclasses.asdict(manifest)
    storage.write(MANIFEST, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
