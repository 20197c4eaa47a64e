"""Sources of clips for `distgan data prepare`, by the kind that is asked for or by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from distgan.data.clips.base import ClipSource
from distgan.data.clips.files import open_files
from distgan.data.clips.frames import open_frames
from distgan.data.clips.moving import MOVING, open_moving
from distgan.data.clips.panning import open_panning
from distgan.data.clips.stack import open_stack
from distgan.data.clips.strips import open_strips
from distgan.data.prepare_settings import CLIP_OPTIONS, PrepareSettings
from distgan.data.sources import is_free, open_source, source_path
from distgan.data.sources.named import Progress
from distgan.errors import UserError, first_line, printable

MADE: dict[str, Callable[[str, int | None, int], ClipSource]] = {
    name: partial(open_moving, name) for name in MOVING
}
"""Sets that are computed, by name: functions of the split, the number of clips (None for the usual
one) and a seed."""


def _open_strips(path: Path, split: str) -> ClipSource:
    return open_strips(path, split, None)


KINDS: dict[str, Callable[[Path, str], ClipSource]] = {
    "frames": open_frames,
    "files": open_files,
    "strips": _open_strips,
    "stack": open_stack,
}
"""Clips in files, by the name that ``--clips`` takes: functions of their place and the split."""


def is_made_clips(location: str) -> bool:
    """Whether this names a set of `MADE`, and no file or folder."""
    return location in MADE and is_free(location)


def of_clips(location: str, options: PrepareSettings) -> bool:
    """Whether a set of clips is made of a source, rather than one of images."""
    return options.clips is not None or is_made_clips(location)


def open_clip_source(
    location: str, options: PrepareSettings, progress: Progress = lambda what, done, total: None
) -> ClipSource:
    """Open one split of a source of clips.

    Args:
        location: a set of `MADE`, or a file or folder of the kind of ``options.clips``.
        progress: called with the progress of a download.

    Raises:
        UserError: when it does not exist, is of another kind, is damaged, or holds no clips; for
            options that are not of clips.
    """
    shown = printable(location)
    for name in ("pairs", "pair_size", "pair_channels"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"{option}: {shown} is of clips, which have no pairs; leave it out")
    if options.frames is None and options.short is not None and options.cut is None:
        raise UserError(
            f"--short {options.short}: says what becomes of clips with fewer frames than --frames; "
            "give --frames N too"
        )
    if options.frames and options.cut and options.frames > options.cut:
        raise UserError(
            f"--frames {options.frames}: is more than the --cut {options.cut} that clips are cut "
            "to; take fewer, or cut longer ones"
        )
    if is_made_clips(location):
        if options.clips is not None:
            raise UserError(
                f"--clips {options.clips}: {shown} is a set of clips by itself; leave --clips out"
            )
        return MADE[location](options.split, options.subset, options.seed)
    source = _open(location, shown, options, progress)
    if source.count == 0:
        notes = "".join(f"; {note}" for note in source.notes)
        raise UserError(f"{shown}: holds no clips (0 of them); give another source{notes}")
    return source


def refuse_clip_options(location: str, options: PrepareSettings) -> None:
    """See that a source of images is not given options of clips.

    Raises:
        UserError: when it is, naming the first.
    """
    for name in CLIP_OPTIONS:
        if (value := getattr(options, name)) is not None:
            raise UserError(
                f"--{name} {value}: is for clips, and {printable(location)} is read as images; say "
                "with --clips KIND how it holds clips, or leave it out"
            )


def _open(location: str, shown: str, options: PrepareSettings, progress: Progress) -> ClipSource:
    if options.clips == "panning":
        # It imports the sources.
        from distgan.data.images import PACKAGED

        images = open_source(str(PACKAGED.get(location, location)), options.split, progress)
        return open_panning(images, options.frames, options.size, options.subset, options.seed)
    path = source_path(location)
    try:
        if not path.exists():
            made = ", ".join(MADE)
            raise UserError(
                f"{shown}: no such file or folder; give one, or a set of clips that can be made "
                f"without --clips: {made}"
            )
        return KINDS[options.clips or ""](path, options.split)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(f"{shown}: cannot be read ({first_line(error)})") from None
