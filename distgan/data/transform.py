"""From an encoded image, or pixels, of any size to uint8 pixels of one shape."""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from distgan.data.sources import ImageData

LARGEST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: Pillow's own limit for a decompression bomb."""

FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
"""Pillow's; each is widened by the factor of the reduction, so all are antialiased."""

_DAMAGED = (
    *(OSError, ValueError, SyntaxError, IndexError, EOFError),
    # From EXIF data, which Pillow writes anew when it turns an image.
    *(struct.error, TypeError, KeyError, ZeroDivisionError),
)
"""What Pillow raises for bytes that are not what they should be."""

_GRAY = ("1", "L", "LA", "La", "I", "F")


class BadImageError(Exception):
    """What is wrong with one image; whoever catches it knows which one it is."""


@dataclass(frozen=True)
class Transform:
    """Makes images of one shape.

    ``size`` is (height, width), or None to leave it; ``crop`` says how an image of other
    proportions comes to it: ``center`` cuts the largest part with the right ones out of its
    middle, ``none`` distorts. ``gray`` is None to take images as they are.
    """

    size: tuple[int, int] | None = None
    crop: str = "center"
    filter: str = "lanczos"
    gray: bool | None = None

    def pixels(self, image: ImageData) -> NDArray[np.uint8]:
        """uint8 (height, width, channels), of one channel or three.

        16 bits become 8, transparent parts white, and gray is ITU-R 601-2 luma. Photographs
        are turned upright as their EXIF data says.

        Raises:
            BadImageError: when it cannot be decoded, or is too large to be decoded safely.
        """
        if isinstance(image, np.ndarray):
            if image.shape[2] not in (1, 3, 4):
                raise BadImageError(f"has {image.shape[2]} channels; 1, 3 and 4 are known")
            if self._keeps(*image.shape):
                return image
            return self._finish(_from_pixels(image))
        opened = _open(image)
        try:
            return self._finish(ImageOps.exif_transpose(opened))
        except _DAMAGED as error:
            raise BadImageError(f"a damaged image ({error})") from None

    def is_as_wanted(self, content: bytes, shape: tuple[int, ...]) -> bool:
        """Whether an encoded image already decodes to just what `pixels` made of it."""
        opened = _open(content)
        mode = "L" if shape[2] == 1 else "RGB"
        upright = opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
        plain = opened.mode == mode and "transparency" not in opened.info
        return upright and plain and (opened.height, opened.width) == shape[:2]

    def _keeps(self, height: int, width: int, channels: int) -> bool:
        fits = self.size is None or self.size == (height, width)
        return fits and channels != 4 and self.gray in (None, channels == 1)

    def _finish(self, image: Image.Image) -> NDArray[np.uint8]:
        gray = image.mode.startswith(_GRAY) if self.gray is None else self.gray
        image = _flat(image, gray)
        if self.size is not None and self.size != (image.height, image.width):
            height, width = self.size
            box = _center(image, width / height) if self.crop == "center" else None
            image = image.resize((width, height), FILTERS[self.filter], box)
        pixels = np.asarray(image, np.uint8)
        return pixels.reshape(image.height, image.width, 1 if gray else 3)


def _open(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow warns at the limit and refuses at twice that; the limit is enough.
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(content))
    except Image.DecompressionBombError:
        raise BadImageError("too large to be decoded safely (a decompression bomb?)") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        reason = "not an image" if content else "empty, unreadable or over 256 MiB"
        raise BadImageError(reason) from None
    if image.width * image.height > LARGEST_PIXELS:
        raise BadImageError(
            f"{image.width}x{image.height} pixels are too many to be decoded safely "
            f"(over {LARGEST_PIXELS:,}; a decompression bomb?)"
        )
    return image


def _from_pixels(pixels: NDArray[np.uint8]) -> Image.Image:
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    return Image.fromarray(np.ascontiguousarray(plain))


def _flat(image: Image.Image, gray: bool) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode == "F":
        raise BadImageError("of floating-point numbers; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray((wide.clip(0, 65535) >> 8).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if gray else "RGB")


def _center(image: Image.Image, ratio: float) -> tuple[float, float, float, float]:
    """The largest box of width / height ``ratio`` in the middle of the image."""
    width = min(float(image.width), image.height * ratio)
    height = min(float(image.height), image.width / ratio)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height
