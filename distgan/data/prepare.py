"""`distgan data prepare`: converts a source to the package's Parquet with a manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from distgan import draws
from distgan.config import settings
from distgan.config.settings import SETTINGS, Count, PositiveCount
from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data.decoder import BadImageError, range_note
from distgan.data.manifest import Manifest, Shard
from distgan.data.shards import Form, Job, Layout, Made, check, make_shard, too_many
from distgan.data.sources import Source, open_source
from distgan.data.transform import Transform
from distgan.data.unfinished import (
    BAD_IMAGES,
    UNFINISHED,
    VALIDATION,
    announce,
    clear,
    refuse_occupied,
    unfinished,
)
from distgan.errors import UserError, printable
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage

Progress = Callable[[str, int, int], None]
"""Called with a description of the work, the amount done, and the total."""

Tasks = Callable[[list[Job], Source, Layout], Generator[tuple[int, Made], None, None]]
"""Makes shards in any order: numbers of jobs, and what became of them."""


def _parse_size(value: Any) -> Any:
    """``64`` or ``48x64``, height by width."""
    if not isinstance(value, (str, int)):
        return value
    parts = str(value).lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
        raise ValueError("should be a number such as 64, or height by width such as 48x64")
    return (parts * 2)[:2]


_Side = Annotated[int, Field(ge=1, le=16384)]
Size = Annotated[tuple[_Side, _Side], BeforeValidator(_parse_size)]
"""Height and width."""


@dataclass(frozen=True, config=SETTINGS)
class PrepareSettings:
    """How a set is made from a source."""

    split: Literal["train", "test"] = "train"
    """Which part of the source."""
    size: Size | None = None
    """Height and width to resize to; None leaves images as they are, all of one size."""
    crop: Literal["center", "none"] = "center"
    """Where ``size`` has other proportions: cut out the middle, or distort."""
    filter: Literal["lanczos", "bicubic", "bilinear", "box"] = "lanczos"
    """Pillow's filter for resizing; all of them are antialiased."""
    channels: Literal["auto", "gray", "rgb"] = "auto"
    """1 or 3 channels; ``auto`` takes what the first image has."""
    pairs: Literal["side-by-side", "folders", "unpaired"] | None = None
    """How the source holds two domains: A|B images, folders A and B of equal names, or folders
    whose images belong to no others, of which two sets are made."""
    pair_size: Size | None = None
    """Height and width of the pairs; None for ``size``."""
    pair_channels: Literal["auto", "gray", "rgb"] | None = None
    """The same of the pairs; None for ``channels``."""
    subset: PositiveCount | None = None
    """Take that many images, drawn by ``seed``, in the source's order; stacked-mnist is made with
    that many."""
    validation: Count = 0
    """Images, drawn by ``seed`` out of those taken, for a set of their own in ``validation``."""
    shard_size: PositiveCount = 64
    """Megabytes (10^6 bytes) of decoded pixels in a shard, at most; but one row group at least."""
    store: Literal["raw", "png", "original"] = "raw"
    """Pixels, PNG, or the source's own bytes where an image needs no change (else PNG)."""
    skip_bad: Count = 0
    """Bad images that may be left out."""
    seed: Annotated[int, Field(ge=0, lt=2**64)] = 0
    """Of ``subset`` and ``validation``, and of the digits of stacked-mnist."""

    @property
    def transforms(self) -> tuple[Transform, Transform]:
        """What is made of each image, and of each pair."""
        gray = {"auto": None, "gray": True, "rgb": False}
        image = Transform(self.size, self.crop, self.filter, gray[self.channels])
        size, channels = self.pair_size or self.size, self.pair_channels or self.channels
        return image, Transform(size, self.crop, self.filter, gray[channels])

    def told(self) -> dict[str, Any]:
        """As a dictionary, without options of pairs that were not given."""
        found = settings.to_dict(self)
        # The manifest of a set without pairs is as it was before there were such options.
        return {name: at for name, at in found.items() if at is not None or "pair" not in name}


def prepare(
    source: str,
    out: str,
    options: PrepareSettings | None = None,
    *,
    tasks: Tasks | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Callable[[str], object] = lambda text: None,
    side: str = "",
) -> Manifest:
    """Turn a source into Parquet shards and a manifest.

    The same source and options always give the same bytes, with any number of workers. If it
    fails, nothing is left in ``out``.

    Args:
        source: a file or folder of any kind in `distgan.data.sources`, a name in
            `distgan.data.sources.named`, which is downloaded, or one that `distgan.data.sources`
            makes.
        out: path or URI of the folder to write to.
        tasks: makes several shards at a time; None makes one after another in this process, as
            those of a set with a single shard always are.
        progress: called with the progress.
        note: takes lines about how the source was read, and what in it was not used.
        side: A or B, of a source whose ``options.pairs`` are unpaired.

    Raises:
        UserError: when the source cannot be used, or ``out`` already holds a set.
    """
    options = options or PrepareSettings()
    storage = Storage(out)
    with Ownership(storage, "preparing of a set") as owner:
        clear(storage)
        refuse_occupied(storage, out)
        opened = open_source(
            source,
            options.split,
            progress,
            count=options.subset,
            seed=options.seed,
            pairs=options.pairs,
            side=side,
        )
        _check_pairs(source, opened, options)
        for line in opened.notes:
            note(line)
        taken, held_out = _choose(opened.count, options)
        layout = _layout(opened, np.sort(np.concatenate([taken, held_out])), options)
        parts = {"": taken, VALIDATION: held_out} if len(held_out) else {"": taken}
        with unfinished(storage, owner) as storage:
            jobs = [
                job
                for folder, numbers in parts.items()
                for job in _jobs(storage, folder, numbers, layout, options)
            ]
            made = _make(jobs, opened, layout, tasks, progress)
            for line in _remarks(made):
                note(line)
            announce(storage, (_place(job) for job in jobs))
            written: Manifest | None = None
            # The set itself is finished last: its manifest marks everything as complete.
            for folder in reversed(parts):
                its = [(job, m) for job, m in zip(jobs, made, strict=True) if job.folder == folder]
                written = _finish(storage, folder, its, opened, layout, options)
    assert written is not None
    return written


def _check_pairs(source: str, opened: Source, options: PrepareSettings) -> None:
    for name, value in (("size", options.pair_size), ("channels", options.pair_channels)):
        if value is not None and not opened.pairs:
            raise UserError(
                f"--pair-{name}: {printable(source)} has no pairs; leave it out, or give --pairs"
            )


def _choose(count: int, options: PrepareSettings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the items for the set and for validation, ascending; depend on the options
    only."""
    wanted = count if options.subset is None else options.subset
    if wanted > count:
        raise UserError(f"--subset {wanted}: the source has only {count} images; take fewer")
    if options.validation >= wanted:
        raise UserError(
            f"--validation {options.validation}: would leave none of {wanted} images; take fewer"
        )
    order = draws.permutation(options.seed, "hold out", 0, count)
    held_out = options.validation
    return np.sort(order[held_out:wanted]), np.sort(order[:held_out])


def _layout(source: Source, numbers: NDArray[np.int64], options: PrepareSettings) -> Layout:
    """What all shards share; shape and channels are those of the first undamaged image.

    Raises:
        UserError: when more images at the beginning are damaged than ``skip_bad`` allows.
    """
    transform, other = options.transforms
    bad: list[str] = []
    for number in numbers[: options.skip_bad + 1]:
        item = source.read(np.array([number]))[0]
        try:
            image = Form.of(item.image, transform)
            check(item, len(source.classes), source.pairs)
            pair = None if item.pair is None else Form.of(item.pair, other, pair=True)
        except BadImageError as error:
            bad.append(f"{item.where}: {error}")
            continue
        return Layout(
            image=image,
            pair=pair if source.pairs else None,
            store=options.store,
            classes=len(source.classes),
            captions=source.captions,
            skip_bad=options.skip_bad,
        )
    raise UserError(too_many(bad, options.skip_bad))


def _jobs(
    storage: Storage,
    folder: str,
    numbers: NDArray[np.int64],
    layout: Layout,
    options: PrepareSettings,
) -> list[Job]:
    # Shards hold complete row groups, so that only the last one of a set is shorter.
    groups = options.shard_size * 1_000_000 // layout.image_bytes // layout.rows_per_group
    size = max(1, groups) * layout.rows_per_group
    starts = range(0, len(numbers), size)
    name = VALIDATION if folder else options.split
    names = [f"{name}-{n:05d}.parquet" for n in range(len(starts))]
    if len(starts) == 1:
        names = [f"{name}.parquet"]
    return [
        Job(
            storage.anywhere(),
            storage.owner,
            folder,
            f"{UNFINISHED}/{name}",
            numbers[start : start + size],
        )
        for name, start in zip(names, starts, strict=True)
    ]


def _make(
    jobs: list[Job], source: Source, layout: Layout, tasks: Tasks | None, progress: Progress
) -> list[Made]:
    """Make all shards; results in the order of the jobs."""
    total = sum(len(job.numbers) for job in jobs)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress("images", done, total)

    # Starting tasks takes longer than making one shard.
    if tasks is None or not any(job.folder == other.folder for job, other in pairwise(jobs)):
        made: list[Made] = []
        for job in jobs:
            made.append(make_shard(job, source, layout, report))
            _limit(made, layout.skip_bad)
        return made
    finished: dict[int, Made] = {}
    with closing(tasks(jobs, source, layout)) as shards:
        for number, one in shards:
            finished[number] = one
            _limit(list(finished.values()), layout.skip_bad)
            report(len(jobs[number].numbers))
    return [finished[number] for number in range(len(jobs))]


def _remarks(made: list[Made]) -> Iterator[str]:
    """Remarks for the user about the images of the set."""
    low = [one.darkest for one in made if one.darkest is not None]
    high = [one.brightest for one in made if one.brightest is not None]
    if low and (line := range_note(min(low), max(high))):
        yield line
    if several := sum(one.frames for one in made):
        yield f"left alone: all but the first frame or page of {several:,} images"


def _limit(made: list[Made], allowed: int) -> None:
    bad = [line for one in made for line in one.bad]
    if len(bad) > allowed:
        raise UserError(too_many(bad, allowed))


def _place(job: Job) -> str:
    """The final path of a shard."""
    name = job.name.removeprefix(f"{UNFINISHED}/")
    return f"{job.folder}/{name}" if job.folder else name


def _finish(
    storage: Storage,
    folder: str,
    its: list[tuple[Job, Made]],
    source: Source,
    layout: Layout,
    options: PrepareSettings,
) -> Manifest:
    """Move the shards of a set to their final paths, and write its manifest last."""
    good = [(job, one) for job, one in its if one.count]
    if not good:
        raise UserError(f"--out {storage.show(folder)}: no good image is left for it; take more")
    target = storage.child(folder) if folder else storage
    count = sum(one.count for _, one in good)
    shape, pair = layout.image.shape, layout.pair
    pixels = count * shape.height * shape.width
    sums = np.sum([one.sums for _, one in good], axis=0)
    bad = [line for _, one in its for line in one.bad]
    names = [PurePosixPath(_place(job)).name for job, _ in good]
    made = Manifest(
        format=manifest.FORMAT,
        count=count,
        height=shape.height,
        width=shape.width,
        channels=shape.channels,
        classes=source.classes,
        class_counts=tuple(np.sum([one.class_counts for _, one in good], axis=0).tolist()),
        mean=tuple(round(float(each), 6) for each in sums / pixels / 255),
        files=tuple(
            Shard(name, one.count, one.bytes, one.sha256)
            for name, (_, one) in zip(names, good, strict=True)
        ),
        schema=layout.schema.to_string(),
        skipped=len(bad),
        source={"kind": source.kind, **options.told()},
        pair=None if pair is None or pair.shape == shape else _sides(pair.shape),
    )
    target.make()
    for job, _ in good:
        storage.move(job.name, _place(job))
    if bad:
        target.write(BAD_IMAGES, "\n".join(bad) + "\n")
    manifest.write(target, made)
    return made


def _sides(shape: ImageShape) -> tuple[int, int, int]:
    return shape.height, shape.width, shape.channels
