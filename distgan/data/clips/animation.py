"""Decodes animations that Pillow reads: GIF, WebP and APNG."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distgan.data.decoder import BadImageError, as_wanted, opened
from distgan.errors import first_line

ENDINGS = frozenset(("gif", "webp", "png", "apng"))
"""File name extensions of animations."""

_FORMATS = ("GIF", "WEBP", "PNG")


class Animation:
    """An encoded animation, each frame as a viewer would show it, upon white.

    Args:
        content: of the file.

    Raises:
        BadImageError: when it is none, or cut short.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._times: list[float] = []
        image = opened(content)
        if image.format not in _FORMATS:
            raise BadImageError(f"a {image.format} in truth; GIF, WebP and APNG are animations")
        _refuse_cut(content, image.format)
        # Pillow opens a GIF of gray colours as gray, but gives its later frames in colour.
        self._gray = image.mode in ("1", "L", "LA") and all(map(_is_gray, self._frames(False)))

    def play(self) -> Iterator[NDArray[np.uint8]]:
        """Its frames from the first on, uint8 (h, w, c): of one channel where all are gray.

        Raises:
            BadImageError: at a frame that is damaged.
        """
        return self._frames(self._gray)

    @property
    def fps(self) -> float | None:
        """Frames a second, by the median of the times of all frames that were played; None where
        the file gives no times."""
        usual = median(self._times) if self._times else 0
        return 1000 / usual if usual > 0 else None

    def _frames(self, gray: bool) -> Iterator[NDArray[np.uint8]]:
        self._times = []
        image = opened(self._content)
        # An APNG may hold a still picture before its animation, for those who cannot show it.
        first = int(bool(getattr(image, "default_image", False)))
        for number in range(first, getattr(image, "n_frames", 1)):
            frame = _frame(image, number, gray)
            # Known once the frame is decoded, in milliseconds.
            self._times.append(float(image.info.get("duration") or 0))
            yield frame


def _frame(image: Image.Image, number: int, gray: bool) -> NDArray[np.uint8]:
    try:
        image.seek(number)
        image.load()
        flat = as_wanted(image, gray)
    except Exception as error:
        # Pillow's decoders may raise any exception for damaged bytes.
        raise BadImageError(f"damaged at frame {number} ({first_line(error)})") from None
    return np.array(flat, np.uint8).reshape(image.height, image.width, -1)


def _is_gray(frame: NDArray[np.uint8]) -> bool:
    return bool((frame == frame[..., :1]).all())


def _refuse_cut(content: bytes, form: str) -> None:
    """Refuse a file that ends before its end: Pillow would give the frames up to there."""
    try:
        whole = {"GIF": _gif_ends, "WEBP": _webp_ends, "PNG": _png_ends}[form](content)
    except IndexError:
        whole = False
    if not whole:
        raise BadImageError(f"a {form} that is cut short; copy it again")


def _gif_ends(content: bytes) -> bool:
    """Whether the blocks of a GIF (GIF89a, appendix B) lead to its trailer."""
    at = 13 + _colours(content[10])
    while content[at] != 0x3B:
        if content[at] == 0x21:
            at += 2
        elif content[at] == 0x2C:
            # The descriptor, its colours, and the byte before the picture's data.
            at += 10 + _colours(content[at + 9]) + 1
        else:
            return False
        while content[at]:
            at += 1 + content[at]
        at += 1
    return True


def _colours(flags: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp_ends(content: bytes) -> bool:
    # RIFF counts what follows its own eight bytes.
    return len(content) >= 8 + int.from_bytes(content[4:8], "little")


def _png_ends(content: bytes) -> bool:
    at = 8
    while content[at + 4 : at + 8] != b"IEND":
        if at + 8 > len(content):
            return False
        at += 12 + int.from_bytes(content[at : at + 4], "big")
    return True
