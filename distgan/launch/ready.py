"""Makes a set of images or clips that are none yet, before a run that trains on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from distgan.config.clip import Clips
from distgan.config.run import RunConfig
from distgan.config.shape import ImageShape
from distgan.data import raw
from distgan.data.clips.open import open_clip_source
from distgan.data.clips.work import ClipWork
from distgan.data.prepare import PrepareSettings, Progress
from distgan.data.raw import Survey
from distgan.errors import UserError
from distgan.families import DataSpec
from distgan.families.check import check_networks
from distgan.launch.prepare import prepare
from distgan.launch.ray.address import cluster_address
from distgan.launch.signals import StopRequest
from distgan.recipes import photos
from distgan.storage.in_use import in_use

Note = Callable[[str], object]


def ready(
    data: str,
    survey: Survey,
    options: PrepareSettings,
    *,
    option: str = "--data",
    address: str | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
    stop: StopRequest | None = None,
) -> str:
    """The folder of the set of some images, which is prepared unless it is there already.

    Args:
        data: a source that `distgan.data.raw.is_raw` is true of.
        survey: of this source.
        options: see `sized`.
        option: the option or argument that named it, for errors.
        address: of a Ray cluster, as in `prepare`.
        note: takes what was done, in a line or more.

    Raises:
        KeyboardInterrupt, SystemExit: when a stop was asked for; nothing is kept then.
        UserError: when the images cannot be prepared.
    """
    low, high = ("x".join(map(str, survey.sizes[place])) for place in (0, -1))
    sizes = f"all of {low}" if survey.uniform else f"from {low} to {high}"
    said = f"{data}: {survey.count:,} images, {sizes}"
    return _prepared(data, options, said, option, address, progress, note, stop)


def ready_clips(
    data: str,
    options: PrepareSettings,
    *,
    option: str = "--data",
    address: str | None = None,
    progress: Progress = lambda what, done, total: None,
    note: Note = lambda text: None,
    stop: StopRequest | None = None,
    check: Callable[[DataSpec], object] | None = None,
) -> str:
    """The folder of a set of clips that is made by name, unless it is there already.

    Args:
        data: a set of `distgan.data.clips.open.MADE`.
        check: called with what networks have to know of the clips, before they are made.

    The others are those of `ready`.

    Raises:
        KeyboardInterrupt, SystemExit: when a stop was asked for; nothing is kept then.
        UserError: when the clips cannot be made, or by ``check``.
    """
    source = open_clip_source(data, options)
    work = ClipWork.of(source, np.arange(source.count), options)
    length = round(work.length)
    clips = Clips(length, length, source.count * length, work.lengths.fps)
    if check is not None:
        check(DataSpec(work.shape, source.classes, clips=clips))
    said = f"{data}: {source.count:,} clips of {length} frames of {work.shape}"
    return _prepared(data, options, said, option, address, progress, note, stop)


def _prepared(
    data: str,
    options: PrepareSettings,
    said: str,
    option: str,
    address: str | None,
    progress: Progress,
    note: Note,
    stop: StopRequest | None,
) -> str:
    folder = raw.set_folder(data, options, option)
    wanted = "as they are" if options.size is None else f"at {'x'.join(map(str, options.size))}"
    if raw.is_whole(folder):
        note(f"{said}; prepared {wanted} before, in {folder}")
        return str(folder)
    note(f"{said}; preparing them {wanted}, once, in {folder}")
    if cluster_address(address) is not None:
        note("all machines of the cluster must see that folder; XDG_CACHE_HOME names another place")
    try:
        with in_use(folder):
            prepare(
                data, str(folder), options, address=address, progress=progress, note=note, stop=stop
            )
    except BaseException:
        # Made by `in_use`; another process may be about to fill it.
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
    return str(folder)


def sized(survey: Survey, side: tuple[int, int] | int | None, skip_bad: int) -> PrepareSettings:
    """How to prepare images: gray only if all are, at a ``side`` or at one that suits them.

    Args:
        side: height and width, or one for both; None chooses by the images' own sizes. Small ones
            of one size, which the networks can make, stay as they are.
    """
    channels = PrepareSettings(
        channels="gray" if survey.channels == 1 else "rgb", skip_bad=skip_bad
    )
    if side is None:
        side = photos.size_for(survey.shorter)
        if survey.uniform and survey.shorter < side and photos.halves(survey.at(survey.sizes[0])):
            return channels
    return replace(channels, size=(side, side) if isinstance(side, int) else side)


def fitting(config: RunConfig, survey: Survey) -> int | None:
    """The side that a configuration's networks want for these images; None where any would do.

    That of a recipe for one's own images, and else the largest that the networks can make.

    Raises:
        UserError: when they can make none.
    """
    if config.recipe in photos.SIZE_OF:
        return photos.SIZE_OF[config.recipe]
    first: UserError | None = None
    own = shape_of(survey, sized(survey, None, 0))
    smaller = [side for side in reversed(photos.SIZES) if side < min(own[1:])]
    for side in (None, *smaller):
        shape = own if side is None else survey.at((side, side))
        try:
            check_networks(config, DataSpec.numbered(shape, survey.classes))
        except UserError as error:
            first = first or error
        else:
            return side
    assert first is not None
    raise first


def shape_of(survey: Survey, options: PrepareSettings) -> ImageShape:
    """The shape of images that are prepared so."""
    return survey.at(options.size or survey.sizes[0])
