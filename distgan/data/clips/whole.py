"""Reads whole sets of clips into memory, with all of their frames."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from distgan.data.clips.decode import WholeClips, decode_whole
from distgan.data.fragments import Fragment, ahead, first_row, row_group, whole_set
from distgan.data.images import ImageSet
from distgan.data.pixels import array_shape
from distgan.errors import UserError


def read_whole_clips(images: ImageSet, replace: bool = False) -> WholeClips:
    """Read and decode a whole set into this process's memory, without Ray.

    Args:
        replace: replace a damaged clip by the next undamaged one of its row group.

    Raises:
        UserError: for a missing or damaged file, and for damaged clips.
    """
    groups = whole_set(images)
    return fill_clips(images, ahead(partial(read_group, images, one, replace) for one in groups))


def read_group(images: ImageSet, group: Fragment, replace: bool) -> WholeClips:
    """All clips of a row group, as `read_whole_clips` reads those of a set."""
    row = first_row(images, group)
    return decode_whole(
        row_group(images, group),
        images,
        source=images.files[group.file],
        first_row=row,
        first_number=sum(map(sum, images.groups[: group.file])) + row,
        replace=replace,
    )


def fill_clips(images: ImageSet, pieces: Iterable[WholeClips]) -> WholeClips:
    """Concatenate pieces to a whole set, without holding all of them twice.

    Raises:
        UserError: for more frames than the manifest promises.
    """
    assert images.clips is not None
    frames = np.empty((images.clips.frames, *array_shape(images.shape)), np.uint8)
    lengths, shown, labels, at = [], [], [], 0
    for piece in pieces:
        if at + len(piece.frames) > len(frames):
            raise UserError(
                f"--data {images.uri}: holds more than the {len(frames):,} frames that its "
                "manifest promises; copy it again, or make it again with `distgan data prepare`"
            )
        frames[at : at + len(piece.frames)] = piece.frames
        at += len(piece.frames)
        lengths.append(piece.lengths)
        shown.append(piece.shown)
        labels += [] if piece.labels is None else [piece.labels]
    return WholeClips(
        frames[:at],
        np.concatenate(lengths),
        np.concatenate(shown),
        np.concatenate(labels) if labels else None,
    )
