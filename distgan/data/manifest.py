"""The manifest of a prepared set: its contents, and the options it was made with."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from distgan.config import settings
from distgan.config.clip import Clips
from distgan.config.settings import SETTINGS
from distgan.config.shape import ImageShape
from distgan.errors import UserError, brief, printable
from distgan.storage.storage import Storage
from distgan.storage.textfiles import parse_json, read_text

MANIFEST = "manifest.json"
FORMAT = 2

_REMEDY = "copy it again, or make the set again with `distgan data prepare`"
_LONGEST_NAME = 255
"""Largest number of bytes of a file name on all common filesystems."""

_AtLeastOne = Annotated[int, Field(ge=1)]
_Number = Annotated[int, Field(ge=0)]


def _is_file_name(name: str) -> str:
    # A manifest from another person must not name files outside its folder.
    if not name or name in (".", "..") or any(part in name for part in ("/", "\\", "://", "\0")):
        raise ValueError("should be the name of a file in the set's own folder")
    if len(name.encode("utf-8", "replace")) > _LONGEST_NAME or printable(name) != name:
        raise ValueError(f"should be printable and of at most {_LONGEST_NAME} bytes")
    return name


def _each_class_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("should name each class once")
    if any(printable(name) != name for name in names):
        raise ValueError("should be printable")
    return names


def _each_once(files: tuple[Shard, ...]) -> tuple[Shard, ...]:
    if len({shard.name for shard in files}) != len(files):
        raise ValueError("should name each file once")
    return files


@dataclass(frozen=True, config=SETTINGS)
class Shard:
    """One Parquet file of a set."""

    name: Annotated[str, AfterValidator(_is_file_name)]
    count: _Number
    bytes: _Number
    sha256: str


@dataclass(frozen=True, config=SETTINGS)
class Manifest:
    """The contents of a prepared set. A folder with a manifest holds a complete set."""

    format: int
    """2; an older or newer one is refused."""
    count: _AtLeastOne
    """Images in all shards."""
    height: _AtLeastOne
    width: _AtLeastOne
    channels: _AtLeastOne
    classes: Annotated[tuple[str, ...], AfterValidator(_each_class_once)]
    """Names of the labels 0, 1, ...; empty without labels."""
    class_counts: tuple[_Number, ...]
    """Images of each class."""
    mean: tuple[float, ...]
    """Mean of each channel over all pixels, in [0, 1], to six places."""
    files: Annotated[tuple[Shard, ...], Field(min_length=1), AfterValidator(_each_once)]
    """In the order of the images."""
    schema: str
    """The Arrow schema of every shard, as Arrow prints it."""
    skipped: int
    """Bad images left out; bad-images.txt lists them."""
    source: dict[str, Any]
    """Kind of source, split, and the options of `distgan data prepare`."""
    pair: tuple[_AtLeastOne, _AtLeastOne, _AtLeastOne] | None = None
    """Height, width and channels of the pairs where they are of another shape than the images."""
    clips: Clips | None = None
    """Lengths of the clips, of a set of such: rows are clips, and images their frames."""

    @property
    def pair_shape(self) -> ImageShape | None:
        """The shape of the pairs; None for a set without."""
        if "\npair: " not in self.schema:
            return None
        height, width, channels = self.pair or (self.height, self.width, self.channels)
        return ImageShape(channels, height, width)

    @model_validator(mode="after")
    def _fits_together(self) -> Manifest:
        if self.count != sum(shard.count for shard in self.files):
            raise ValueError(f"count {self.count}: is not the sum of the files' counts")
        if len(self.mean) != self.channels:
            raise ValueError(f"mean: {len(self.mean)} numbers for {self.channels} channels")
        if len(self.class_counts) != len(self.classes):
            raise ValueError(
                f"class_counts: {len(self.class_counts)} numbers for {len(self.classes)} classes"
            )
        if self.classes and sum(self.class_counts) != self.count:
            raise ValueError(f"class_counts: their sum is not the count of {self.count}")
        if self.clips is not None:
            _check_clips(self.clips, self.count)
        return self


def _check_clips(clips: Clips, count: int) -> None:
    if not 1 <= clips.shortest <= clips.longest:
        raise ValueError(f"clips: of {clips.shortest} to {clips.longest} frames")
    if not count * clips.shortest <= clips.frames <= count * clips.longest:
        raise ValueError(
            f"clips: {count} of {clips.shortest} to {clips.longest} frames are not {clips.frames}"
        )
    if not 0 < clips.fps < math.inf:
        raise ValueError(f"clips: {clips.fps} frames a second")


def read(storage: Storage) -> Manifest | None:
    """The manifest of a set, or None where there is none.

    Raises:
        UserError: when it is damaged, or of another format.
    """
    if not storage.exists(MANIFEST):
        return None
    where = storage.show(MANIFEST)
    values = parse_json(read_text(storage, MANIFEST, _REMEDY), where, _REMEDY)
    if not isinstance(values, dict) or "format" not in values:
        raise UserError(f"{where}: not a manifest of a set (no format); {_REMEDY}")
    version = values["format"]
    if version != FORMAT:
        remedy = (
            "this distgan is too old for it, update it"
            if isinstance(version, int) and version > FORMAT
            else "make the set again with `distgan data prepare`"
        )
        raise UserError(f"{where}: of format {brief(version)}, not {FORMAT}; {remedy}")
    return settings.from_dict(Manifest, values, where)


def write(storage: Storage, manifest: Manifest) -> None:
    """Write the manifest, which marks the set as complete."""
    values = dataclasses.asdict(manifest)
    if manifest.pair is None:
        # As versions without this field wrote it, and read it.
        del values["pair"]
    if manifest.clips is None:
        del values["clips"]
    else:
        values["clips"] = manifest.clips._asdict()
    storage.write(MANIFEST, json.dumps(values, indent=2, ensure_ascii=False) + "\n")
