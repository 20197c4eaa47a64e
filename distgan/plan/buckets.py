"""How DDP packs gradients into buckets, each of which is one all-reduce."""

from __future__ import annotations

from collections.abc import Sequence

FIRST, FURTHER = 1 << 20, 25 << 20
"""Bytes after which the first bucket of an update, and each further one, is full (torch's
``torch.distributed._DEFAULT_FIRST_BUCKET_BYTES`` and DDP's ``bucket_cap_mb``)."""


def buckets(sizes: Sequence[int]) -> list[list[int]]:
    """Indices into ``sizes``, the bytes of gradients in the order in which they become ready.

    A bucket ends with the gradient that fills it (Li et al., "PyTorch Distributed:
    Experiences on Accelerating Data Parallel Training", VLDB 2020, section 3.2.3).
    """
    found: list[list[int]] = [[]]
    held, limit = 0, FIRST
    for index, size in enumerate(sizes):
        if held >= limit:
            found.append([])
            held, limit = 0, FURTHER
        found[-1].append(index)
        held += size
    return found
