"""Reads untrusted tars: recognises them by their first bytes, and bounds what is read."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import IO

from distgan.data.sources.base import open_regular

BLOCK = 512

LARGEST_READ = 1 << 20
"""Bytes of the largest header that is read: headers of long names and attributes may have any
size."""

_CHECKSUM = slice(148, 156)

# Python's reader takes quadratic time for long runs of digits in a header.
_MANY_DIGITS = re.compile(rb"\d{500}")


def is_tar(path: Path) -> bool:
    """Whether a file is an uncompressed tar, by its first header."""
    with open_regular(path) as stream:
        header = stream.read(BLOCK)
    if len(header) < BLOCK:
        return False
    if header[257:262] == b"ustar":
        return True
    # Old tars have no magic number, so the header's checksum, in octal digits, is verified.
    summed = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
    digits = header[_CHECKSUM].strip(b" \0")
    return bool(re.fullmatch(rb"[0-7]{1,8}", digits)) and int(digits, 8) == summed


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip's do."""
    with open_regular(path) as stream:
        return stream.read(2) == b"\x1f\x8b"


class Bounded:
    """A stream for `tarfile.TarFile` that bounds the size of headers.

    The contents of members must be read from the underlying stream.

    Args:
        stream: the unpacked stream.
        most: bytes of it that may be read or skipped.
    """

    def __init__(self, stream: IO[bytes], most: int = 1 << 62) -> None:
        self._stream, self._most = stream, most

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes.

        Raises:
            tarfile.ReadError: when that is beyond the limits.
        """
        if not 0 <= size <= LARGEST_READ:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self._refuse_beyond(self._stream.tell() + size)
        content = self._stream.read(size)
        if size > 500 and _MANY_DIGITS.search(content):
            raise tarfile.ReadError("a header with a number of over 500 digits")
        return content

    def seek(self, position: int) -> int:
        """Go to a position from the beginning.

        Raises:
            tarfile.ReadError: when that is beyond the limit.
        """
        self._refuse_beyond(position)
        return self._stream.seek(position)

    def tell(self) -> int:
        """The position from the beginning."""
        return self._stream.tell()

    def close(self) -> None:
        """Does nothing: the stream is closed by its owner."""

    def write(self, content: bytes) -> int:
        """Part of the interface of a tar's stream; this one is read-only.

        Raises:
            io.UnsupportedOperation: always.
        """
        raise io.UnsupportedOperation("write")

    def _refuse_beyond(self, position: int) -> None:
        if position > self._most:
            raise tarfile.ReadError(f"over {self._most} bytes")
