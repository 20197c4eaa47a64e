"""Transforms encoded images or pixels of any size to uint8 pixels of one shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distgan.data.decoder import BadImageError, Decoded, as_wanted, decode
from distgan.data.sources.base import ImageData, Unreadable

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
"""Pillow's resampling filters. Pillow scales their support when reducing, so all antialias."""


@dataclass(frozen=True)
class Transform:
    """Makes images of one shape.

    ``size`` is (height, width), or None for no change. ``crop`` is used for images of another
    aspect ratio: ``center`` cuts the largest part with the wanted ratio out of the middle,
    ``none`` distorts. ``gray`` says whether to convert to gray; None keeps the channels.
    """

    size: tuple[int, int] | None = None
    crop: str = "center"
    filter: str = "lanczos"
    gray: bool | None = None

    def pixels(
        self, image: ImageData, hear: Callable[[Decoded], object] = lambda decoded: None
    ) -> NDArray[np.uint8]:
        """uint8 (height, width, channels), of one channel or three; see `decode`.

        Args:
            hear: called with an encoded image after decoding, before it is resized.

        Raises:
            BadImageError: when it cannot be decoded, or is too large to be decoded safely.
        """
        if isinstance(image, Unreadable):
            raise BadImageError(image.reason)
        if isinstance(image, bytes):
            decoded = decode(image, self.gray)
            hear(decoded)
            return self._finish(decoded.image)
        if image.shape[2] not in (1, 3, 4):
            raise BadImageError(f"has {image.shape[2]} channels; 1, 3 and 4 are known")
        if self._keeps(*image.shape):
            # Shards store C-contiguous pixels; arrays may be transposed or in Fortran order.
            return np.ascontiguousarray(image)
        gray = image.shape[2] == 1 if self.gray is None else self.gray
        plain = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
        return self._finish(as_wanted(Image.fromarray(plain), gray))

    def _finish(self, image: Image.Image) -> NDArray[np.uint8]:
        if self.size is not None and self.size != (image.height, image.width):
            height, width = self.size
            box = _center(image, width / height) if self.crop == "center" else None
            image = image.resize((width, height), FILTERS[self.filter], box)
        pixels = np.asarray(image, np.uint8)
        return pixels.reshape(image.height, image.width, len(image.getbands()))

    def _keeps(self, height: int, width: int, channels: int) -> bool:
        fits = self.size is None or self.size == (height, width)
        return fits and channels != 4 and self.gray in (None, channels == 1)


def _center(image: Image.Image, ratio: float) -> tuple[float, float, float, float]:
    """The largest box of width / height ``ratio`` in the middle of the image."""
    width = min(float(image.width), image.height * ratio)
    height = min(float(image.height), image.width / ratio)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height
