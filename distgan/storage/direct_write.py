"""Content that is all in memory, and how a large one is written to a local disk."""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import IO

_LARGE, _PIECE, _SECTOR = 2**20, 2**22, 4096
"""Bytes of a file that passes by the cache, of what is written of it at once, and of a sector."""


class WholeBytes:
    """Writes what is all there."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = content

    def __call__(self, stream: IO[bytes]) -> None:
        """Write it to an open stream."""
        stream.write(self._content)

    def pass_by_cache(self, path: Path) -> bool:
        """Write a large file straight to the disk, where the filesystem can (Linux, O_DIRECT).

        Nobody reads a checkpoint soon, and to find pages of the kernel's cache for it can cost
        training's cores more than all the rest of writing it.

        Returns:
            whether it did; if not, nothing is lost by writing it as any other.
        """
        if len(self._content) < _LARGE or not hasattr(os, "O_DIRECT"):
            return False
        try:
            handle = os.open(path, os.O_WRONLY | os.O_DIRECT)
            try:
                # A mapping begins at a page, as the disk wants it.
                piece = memoryview(mmap.mmap(-1, _PIECE))
                for start in range(0, len(self._content), _PIECE):
                    part = self._content[start : start + _PIECE]
                    piece[: len(part)] = part
                    whole = -(-len(part) // _SECTOR) * _SECTOR
                    written = 0
                    while written < whole:
                        written += os.write(handle, piece[written:whole])
                os.ftruncate(handle, len(self._content))
            finally:
                os.close(handle)
        except OSError:
            # What the other way cannot write either, such as on a full disk, it will say.
            os.truncate(path, 0)
            return False
        return True
