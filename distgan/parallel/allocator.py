"""Keep the C allocator from returning memory to the kernel between steps."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
"""Parameters of glibc's ``mallopt``, from its ``malloc.h``."""


_KEPT = {
    # One heap, grown in large pieces and never trimmed, with nothing mapped on its own.
    _M_ARENA_MAX: 1,
    _M_MMAP_MAX: 0,
    _M_TRIM_THRESHOLD: 2**31 - 1,
    _M_TOP_PAD: 64 << 20,
}
_DEFAULTS = {
    _M_ARENA_MAX: 0,
    _M_MMAP_MAX: 65536,
    _M_TRIM_THRESHOLD: 128 << 10,
    _M_TOP_PAD: 128 << 10,
}
"""glibc's own values."""


def keep_freed_memory() -> None:
    """Stop glibc from returning every large freed buffer to the kernel.

    A training step frees and allocates the same buffers again, and each returned page costs a
    page fault. Without glibc this does nothing.
    """
    if (libc := _glibc()) is not None:
        _set(libc, _KEPT)


def return_freed_memory() -> None:
    """Undo `keep_freed_memory`, and hand back what is free."""
    if (libc := _glibc()) is not None:
        _set(libc, _DEFAULTS)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def _set(libc: ctypes.CDLL, values: dict[int, int]) -> None:
    for parameter, value in values.items():
        libc.mallopt(parameter, value)
