"""The two modes of reading: resident in memory, or streamed through a shuffle window."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from distgan.config.clip import Clips, FrameRule
from distgan.config.feed import FeedSettings
from distgan.config.run import RunConfig
from distgan.data.images import ImageSet
from distgan.data.sides import Sets
from distgan.data.spec import frame_rule, reads_pairs
from distgan.errors import UserError

_RESIDENT_SHARE = 0.1
"""Largest share of memory for a resident set. Reading temporarily needs twice the set, and Ray's
object store has 0.3 of memory."""
_WINDOW_BYTES = 256 << 20


def settle_run(config: RunConfig, sets: Sets, memory: int | None = None) -> FeedSettings:
    """`settle` the feed of a run's configuration for its sets."""
    (images, other), rule = sets, frame_rule(config, sets.images)
    return settle(
        config.feed,
        images,
        config.batch,
        memory,
        pairs=reads_pairs(config, images),
        other=other,
        halved=config.halved,
        rule=rule,
    )


def describe_run(config: RunConfig, sets: Sets) -> str:
    """`describe` the feed of a run's configuration for its sets."""
    (images, other), rule = sets, frame_rule(config, sets.images)
    return describe(
        config.feed,
        images,
        pairs=reads_pairs(config, images),
        other=other,
        halved=config.halved,
        rule=rule,
    )


def settle(
    feed: FeedSettings,
    images: ImageSet,
    batch: int,
    memory: int | None = None,
    *,
    pairs: bool = False,
    other: ImageSet | None = None,
    halved: bool = False,
    rule: FrameRule | None = None,
) -> FeedSettings:
    """Replace automatic settings by values, so that a run's order stays the same when resumed.

    Args:
        memory: bytes of memory of the smallest machine to hold a resident set; None for this one.
        pairs: whether the pairs of the images are read too.
        other: the run's second set, where it has one.
        halved: whether both sides of the run are halves of ``images``.
        rule: which frames of a set of clips a sample sees, which windows hold; None for images.

    Raises:
        UserError: for a window smaller than a batch.
    """
    way = feed.way
    if way == "auto":
        memory = _memory() if memory is None else memory
        size = _resident_bytes(images, pairs, other)
        way = "resident" if size <= _RESIDENT_SHARE * memory else "streaming"
    if way == "resident":
        return replace(feed, way=way)
    row = _row(images, pairs, other, halved, rule)
    most = max(images.count, other.count if other else 0)
    window = feed.window or max(batch, _WINDOW_BYTES // row)
    if window < min(batch, most):
        raise UserError(
            f"--feed.window {window}: smaller than a batch ({batch}); give at least that many"
        )
    return replace(feed, way=way, window=min(window, most))


def describe(
    feed: FeedSettings,
    images: ImageSet,
    *,
    pairs: bool = False,
    other: ImageSet | None = None,
    halved: bool = False,
    rule: FrameRule | None = None,
) -> str:
    """One line for the user: the mode, and the memory it takes."""
    what = f"{images.count:,} {'pairs' if pairs else 'images'}"
    if images.clips is not None:
        what = f"{images.count:,} clips of {_lengths(images.clips)} frames"
    if other is not None:
        what = f"{images.count:,} and {other.count:,} images"
    if halved:
        what = f"{what} in two halves,"
    if feed.way == "resident":
        size = _megabytes(_resident_bytes(images, pairs, other))
        return f"{what} resident in memory, {size} once for each node"
    size = _megabytes(2 * feed.window * _row(images, pairs, other, halved, rule))
    one = other is None and not halved
    each = "two windows take" if one else "two windows of each take"
    if rule is not None:
        what = f"{what}, of which {rule.shown} are read,"
    return (
        f"{what} streamed through a shuffle window of {feed.window:,}, "
        f"{feed.lanes} lanes; {each} {size}, divided among the workers"
    )


def _resident_bytes(images: ImageSet, pairs: bool, other: ImageSet | None) -> int:
    own = images.bytes + (images.count * images.pair_bytes if pairs else 0)
    return own + (other.bytes if other else 0)


def _lengths(clips: Clips) -> str:
    shortest, longest, *_ = clips
    return f"{shortest}" if shortest == longest else f"{shortest} to {longest}"


def _row(
    images: ImageSet,
    pairs: bool,
    other: ImageSet | None,
    halved: bool,
    rule: FrameRule | None,
) -> int:
    """Bytes of all that a window keeps of one image, and of one of the second set."""
    one = images.image_bytes * (rule.shown if rule else 1) + (images.pair_bytes if pairs else 0)
    return one * (1 + halved) + (other.image_bytes if other else 0)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def _memory() -> int:
    """Bytes of memory that this process may use, as far as the system tells."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return physical if allowed == "max" else min(physical, int(allowed))
