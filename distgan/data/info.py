"""`distgan data info`: a description of a set, and a picture of its images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distgan.data import manifest, picture
from distgan.data.clips.info import ClipRows
from distgan.data.decoder import BadImageError, Decoded, range_note
from distgan.data.images import ImageSet, open_images
from distgan.data.manifest import Manifest
from distgan.data.sources.base import Unreadable
from distgan.data.sources.parquet import ParquetSource
from distgan.data.transform import Transform
from distgan.errors import UserError, brief
from distgan.storage.storage import Storage, last_name

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Information:
    """The output of `distgan data info`."""

    lines: dict[str, str]
    """Heading and text of each line."""
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    picture: bytes
    rows: str = "images"
    """What is counted: images or clips."""


def inform(
    uri: str, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> Information:
    """Describe a set of images or clips, draw it, and verify the checksum of every shard.

    Args:
        uri: a packaged set's name, a prepared set, or any Parquet with images.

    Raises:
        UserError: when the set cannot be read, or a shard differs from the manifest.
    """
    images = open_images(uri, "URI")
    # images.uri, as for a packaged set ``uri`` is only a name.
    storage = Storage(images.uri)
    made = None if _is_file(storage) else manifest.read(storage)
    if made is not None:
        _verify(storage, made, progress)
    clips = None if images.clips is None else ClipRows(images)
    source = clips or _source(images, made)
    rows = "clips" if clips else "images"
    counts = _counts(source)
    if made is not None and counts != made.class_counts:
        raise UserError(
            f"{storage.show(manifest.MANIFEST)}: its counts of the classes are not those of the "
            "labels in the files; make the set again"
        )
    shape = images.shape
    lost = images.count - sum(counts) if counts else 0
    lines = {
        "images": f"{images.count:,}",
        "shape": f"{shape.height}x{shape.width}x{shape.channels} (height, width, channels)",
    }
    lines = clips.lines() if clips else lines
    if images.pair is not None:
        lines["pairs"] = f"{images.pair}, one of each image"
    if lost:
        lines["unlabelled"] = f"{lost:,} {rows} whose label is missing or no class"
    if made is None:
        lines["files"] = f"{len(images.files)} in {images.uri}"
        lines["manifest"] = "none: not made by `distgan data prepare`, so nothing to verify"
    else:
        lines |= _of_manifest(storage, made, rows)
    title = f"{last_name(uri)}: {images.count:,} {rows} of {shape.height}x{shape.width}"
    title += "" if images.pair is None else f" and their pairs of {images.pair[1]}x{images.pair[2]}"
    title += f", {len(counts)} classes" if counts else ""
    heard: list[Decoded] = []
    if isinstance(source, ClipRows):
        drawn = source.picture(title, counts, heard.append)
    else:
        drawn = _picture(title, images, source, counts, heard.append)
    low = [each.darkest for each in heard if each.darkest is not None]
    high = [each.brightest for each in heard if each.brightest is not None]
    if low and (remark := range_note(min(low), max(high))):
        lines["brightness"] = f"of those drawn: {remark}"
    return Information(lines, source.classes, counts, drawn, rows)


def _verify(storage: Storage, made: Manifest, progress: Callable[[str, int, int], None]) -> None:
    """Compare every shard with the manifest.

    Raises:
        UserError: for the first that is missing or different.
    """
    total, done = sum(shard.bytes for shard in made.files), 0
    for shard in made.files:
        where = storage.show(shard.name)
        if not storage.exists(shard.name):
            raise UserError(f"{where}: is missing; copy it or make the set again")
        digest = hashlib.sha256()
        with storage.filesystem.open_input_stream(
            storage.path(shard.name), compression=None
        ) as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                done += len(chunk)
                progress("bytes verified", done, total)
        if digest.hexdigest() != shard.sha256:
            raise UserError(
                f"{where}: its SHA-256 is not the manifest's; copy it or make the set again"
            )


def _of_manifest(storage: Storage, made: Manifest, rows: str) -> dict[str, str]:
    size = sum(shard.bytes for shard in made.files)
    shards = "1 shard" if len(made.files) == 1 else f"{len(made.files)} shards"
    lines = {
        "mean": ", ".join(f"{each:.4f}" for each in made.mean) + " of full brightness",
        "files": f"{shards}, {size / 1e6:,.1f} MB, in {storage.uri}",
        "checksums": "all verified (SHA-256)",
        "made from": ", ".join(
            f"{name} {_shown(value)}" for name, value in made.source.items() if value
        ),
    }
    if made.skipped:
        lines["skipped"] = f"{made.skipped} bad {rows}, listed in {storage.show('bad-images.txt')}"
    known = {shard.name for shard in made.files}
    others = [n for n in storage.names() if n.endswith(".parquet") and n not in known]
    if others:
        lines["left alone"] = f"{len(others)} .parquet files that the manifest does not name"
    if storage.exists("validation/manifest.json"):
        lines["validation"] = f"a set of its own: {storage.show('validation')}"
    return lines


def _shown(value: object) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value[:4]))
    return brief(value) if isinstance(value, dict) else str(value)[:200]


def _source(images: ImageSet, made: Manifest | None) -> ParquetSource:
    folder, _, _ = images.files[0].rpartition("/")
    scheme, separator, _ = images.uri.partition("://")
    uri = f"{scheme}{separator}{folder}" if separator and scheme != "file" else folder
    names = [file.rpartition("/")[2] for file in images.files]
    return ParquetSource(uri, names, made.classes if made else images.classes)


def _counts(source: ParquetSource | ClipRows) -> tuple[int, ...]:
    if not source.classes:
        return ()
    labels = source.labels()
    kept = labels[(labels >= 0) & (labels < len(source.classes))]
    return tuple(np.bincount(kept, minlength=len(source.classes)).tolist())


def _picture(
    title: str,
    images: ImageSet,
    source: ParquetSource,
    counts: tuple[int, ...],
    hear: Callable[[Decoded], object],
) -> bytes:
    """The first images of each class, one row per class; without labels, of the whole set."""
    size = _drawn_size(images)
    columns, cell = picture.columns_and_cell(size, len(counts) or 10)
    if not counts:
        first = np.arange(min(images.count, 10 * columns))
        pixels = _pixels(source, first, images.pair is not None, hear)
        rows = [pixels[start : start + columns] for start in range(0, len(pixels), columns)]
        return picture.draw(title, rows, cell)
    labels = source.labels()
    shown = min(len(counts), picture.MOST_ROWS)
    if shown < len(counts):
        title += f", the first {shown} drawn"
    chosen = [np.flatnonzero(labels == label)[:columns] for label in range(shown)]
    numbers = np.unique(np.concatenate(chosen))
    pixels = _pixels(source, numbers, images.pair is not None, hear)
    read = dict(zip(numbers.tolist(), pixels, strict=True))
    by_class = [[read[number] for number in row.tolist()] for row in chosen]
    return picture.draw(title, by_class, cell, source.classes[:shown], counts[:shown])


def _drawn_size(images: ImageSet) -> tuple[int, int]:
    """Height and width of an image with its pair beside it."""
    if images.pair is None:
        return images.shape.height, images.shape.width
    return picture.size_side_by_side(images.shape[1:], images.pair[1:])


def _pixels(
    source: ParquetSource,
    numbers: NDArray[np.int64],
    paired: bool,
    hear: Callable[[Decoded], object],
) -> list[NDArray[np.uint8]]:
    """The images of these numbers; with ``paired``, each with its pair on its right."""
    transform, found = Transform(), []
    for item in source.read(numbers):
        try:
            image = transform.pixels(item.image, hear)
            if paired:
                pair = Unreadable("its pair is missing (null)") if item.pair is None else item.pair
                image = picture.side_by_side(image, transform.pixels(pair, hear))
        except BadImageError as error:
            raise UserError(f"{item.where}: {error}; mend or remove that row") from None
        found.append(image)
    return found


def _is_file(storage: Storage) -> bool:
    return bool(storage.filesystem.get_file_info(storage.path()).is_file)
