"""`distgan data prepare`: converts a source to the package's Parquet with a manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from distgan import draws
from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data.clips.base import ClipSource
from distgan.data.clips.open import of_clips, open_clip_source, refuse_clip_options
from distgan.data.clips.work import ClipWork
from distgan.data.manifest import Manifest, Shard
from distgan.data.prepare_settings import PrepareSettings
from distgan.data.shards import Job, Made, too_many
from distgan.data.sources import Source, open_source
from distgan.data.unfinished import (
    BAD_IMAGES,
    UNFINISHED,
    VALIDATION,
    announce,
    clear,
    refuse_occupied,
    unfinished,
)
from distgan.data.work import ImageWork, Work
from distgan.errors import UserError, printable
from distgan.storage.ownership import Ownership
from distgan.storage.storage import Storage

__all__ = ["PrepareSettings", "Progress", "Tasks", "prepare"]

Progress = Callable[[str, int, int], None]
"""Called with a description of the work, the amount done, and the total."""

Tasks = Callable[[list[Job], Work], Generator[tuple[int, Made], None, None]]
"""Makes shards in any order: numbers of jobs, and what became of them."""


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
        ValueError: for unpaired images without a side; see `distgan.data.two_sets`.
    """
    options = options or PrepareSettings()
    if (options.pairs == "unpaired") != bool(side):
        raise ValueError("unpaired images make two sets: see prepare_sides")
    storage = Storage(out)
    with Ownership(storage, "preparing of a set") as owner:
        clear(storage)
        refuse_occupied(storage, out)
        opened, work_on = _opened(source, options, progress, side)
        for line in opened.notes:
            note(line)
        rows = "clips" if of_clips(source, options) else "images"
        taken, held_out = _choose(opened.count, options, rows)
        work = work_on(np.sort(np.concatenate([taken, held_out])))
        parts = {"": taken, VALIDATION: held_out} if len(held_out) else {"": taken}
        with unfinished(storage, owner) as storage:
            jobs = [
                job
                for folder, numbers in parts.items()
                for job in _jobs(storage, folder, numbers, work, options)
            ]
            made = _make(jobs, work, tasks, progress)
            for line in work.remarks(made):
                note(line)
            announce(storage, (_place(job) for job in jobs))
            written: Manifest | None = None
            # The set itself is finished last: its manifest marks everything as complete.
            for folder in reversed(parts):
                its = [(job, m) for job, m in zip(jobs, made, strict=True) if job.folder == folder]
                written = _finish(storage, folder, its, work, options)
    assert written is not None
    return written


def _opened(
    source: str, options: PrepareSettings, progress: Progress, side: str
) -> tuple[Source | ClipSource, Callable[[NDArray[np.int64]], Work]]:
    """A source of images or of clips, and what begins the work on those of these numbers."""
    if of_clips(source, options):
        clips = open_clip_source(source, options, progress)
        return clips, lambda numbers: ClipWork.of(clips, numbers, options)
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
    refuse_clip_options(source, options)
    return opened, lambda numbers: ImageWork.of(opened, numbers, options)


def _check_pairs(source: str, opened: Source, options: PrepareSettings) -> None:
    for name, value in (("size", options.pair_size), ("channels", options.pair_channels)):
        if value is not None and not opened.pairs:
            raise UserError(
                f"--pair-{name}: {printable(source)} has no pairs; leave it out, or give --pairs"
            )


def _choose(
    count: int, options: PrepareSettings, rows: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the items for the set and for validation, ascending; depend on the options
    only."""
    wanted = count if options.subset is None else options.subset
    if wanted > count:
        raise UserError(f"--subset {wanted}: the source has only {count} {rows}; take fewer")
    if options.validation >= wanted:
        raise UserError(
            f"--validation {options.validation}: would leave none of {wanted} {rows}; take fewer"
        )
    order = draws.permutation(options.seed, "hold out", 0, count)
    held_out = options.validation
    return np.sort(order[held_out:wanted]), np.sort(order[:held_out])


def _jobs(
    storage: Storage,
    folder: str,
    numbers: NDArray[np.int64],
    work: Work,
    options: PrepareSettings,
) -> list[Job]:
    size = work.items(options.shard_size * 1_000_000)
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


def _make(jobs: list[Job], work: Work, tasks: Tasks | None, progress: Progress) -> list[Made]:
    """Make all shards; results in the order of the jobs."""
    total = sum(len(job.numbers) for job in jobs)
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(work.rows, done, total)

    # Starting tasks takes longer than making one shard.
    if tasks is None or not any(job.folder == other.folder for job, other in pairwise(jobs)):
        made: list[Made] = []
        for job in jobs:
            made.append(work.make(job, report))
            _limit(made, work)
        return made
    finished: dict[int, Made] = {}
    with closing(tasks(jobs, work)) as shards:
        for number, one in shards:
            finished[number] = one
            _limit(list(finished.values()), work)
            report(len(jobs[number].numbers))
    return [finished[number] for number in range(len(jobs))]


def _limit(made: list[Made], work: Work) -> None:
    bad = [line for one in made for line in one.bad]
    if len(bad) > work.skip_bad:
        raise UserError(too_many(bad, work.skip_bad, work.rows))


def _place(job: Job) -> str:
    """The final path of a shard."""
    name = job.name.removeprefix(f"{UNFINISHED}/")
    return f"{job.folder}/{name}" if job.folder else name


def _finish(
    storage: Storage,
    folder: str,
    its: list[tuple[Job, Made]],
    work: Work,
    options: PrepareSettings,
) -> Manifest:
    """Move the shards of a set to their final paths, and write its manifest last."""
    good = [(job, one) for job, one in its if one.count]
    if not good:
        noun = work.rows.removesuffix("s")
        raise UserError(f"--out {storage.show(folder)}: no good {noun} is left for it; take more")
    shards = [one for _, one in good]
    target = storage.child(folder) if folder else storage
    shape, pair = work.shape, work.pair
    pixels = work.images(shards) * shape.height * shape.width
    sums = np.sum([one.sums for one in shards], axis=0)
    bad = [line for _, one in its for line in one.bad]
    names = [PurePosixPath(_place(job)).name for job, _ in good]
    made = Manifest(
        format=manifest.FORMAT,
        count=sum(one.count for one in shards),
        height=shape.height,
        width=shape.width,
        channels=shape.channels,
        classes=work.classes,
        class_counts=tuple(np.sum([one.class_counts for one in shards], axis=0).tolist()),
        mean=tuple(round(float(each), 6) for each in sums / pixels / 255),
        files=tuple(
            Shard(name, one.count, one.bytes, one.sha256)
            for name, one in zip(names, shards, strict=True)
        ),
        schema=work.schema.to_string(),
        skipped=len(bad),
        source={"kind": work.kind, **options.told(), **work.told([one for _, one in its])},
        pair=None if pair is None or pair == shape else _sides(pair),
        clips=work.clips(shards),
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
