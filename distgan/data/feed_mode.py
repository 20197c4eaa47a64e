"""The two modes of reading: resident in memory, or streamed through a shuffle window."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from distgan.config.feed import FeedSettings
from distgan.data.images import ImageSet
from distgan.errors import UserError

_RESIDENT_SHARE = 0.1
"""Largest share of memory for a resident set. Reading temporarily needs twice the set, and Ray's
object store has 0.3 of memory."""
_WINDOW_BYTES = 256 << 20


def settle(
    feed: FeedSettings,
    images: ImageSet,
    batch: int,
    memory: int | None = None,
    *,
    pairs: bool = False,
) -> FeedSettings:
    """Replace automatic settings by values, so that a run's order stays the same when resumed.

    Args:
        memory: bytes of memory of the smallest machine to hold a resident set; None for this one.
        pairs: whether the pairs of the images are read too.

    Raises:
        UserError: for a window smaller than a batch.
    """
    way = feed.way
    if way == "auto":
        memory = _memory() if memory is None else memory
        way = (
            "resident"
            if images.count * _row(images, pairs) <= _RESIDENT_SHARE * memory
            else "streaming"
        )
    if way == "resident":
        return replace(feed, way=way)
    window = feed.window or max(batch, _WINDOW_BYTES // _row(images, pairs))
    if window < min(batch, images.count):
        raise UserError(
            f"--feed.window {window}: smaller than a batch ({batch}); give at least that many"
        )
    return replace(feed, way=way, window=min(window, images.count))


def describe(feed: FeedSettings, images: ImageSet, *, pairs: bool = False) -> str:
    """One line for the user: the mode, and the memory it takes."""
    what = f"{images.count:,} {'pairs' if pairs else 'images'}"
    if feed.way == "resident":
        size = _megabytes(images.count * _row(images, pairs))
        return f"{what} resident in memory, {size} once for each node"
    size = _megabytes(2 * feed.window * _row(images, pairs))
    return (
        f"{what} streamed through a shuffle window of {feed.window:,}, "
        f"{feed.lanes} lanes; two windows take {size}, divided among the workers"
    )


def _row(images: ImageSet, pairs: bool) -> int:
    """Bytes of all that is kept of one image."""
    return images.image_bytes + (images.pair_bytes if pairs else 0)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _memory() -> int:
    """Bytes of memory that this process may use, as far as the system tells."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return physical if allowed == "max" else min(physical, int(allowed))
