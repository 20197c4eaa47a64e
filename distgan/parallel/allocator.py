"""Keep the C allocator from returning memory to the kernel between steps."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
"""Parameters of glibc's ``mallopt``, from its ``malloc.h``."""


def keep_freed_memory() -> None:
    """Stop glibc from returning every large freed buffer to the kernel.

    A training step frees and allocates the same buffers again, and each returned page costs a
    page fault. Without glibc this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        return
    # One heap, grown in large pieces and never trimmed; no allocation gets its own mapping.
    for parameter, value in (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, 2**31 - 1),
        (_M_TOP_PAD, 64 << 20),
    ):
        libc.mallopt(parameter, value)
