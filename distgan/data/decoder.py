"""Decodes the bytes of an encoded image to upright gray or colour pixels.

Preparing a set, training on encoded Parquet and `distgan data info` all use this module, so
that the same bytes become the same pixels everywhere.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image, ImageOps

from distgan.config.shape import ImageShape
from distgan.errors import first_line

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow's names of the formats that are decoded; all others are disabled.

Pillow recognises a format by the content, not by the file's name, and some of its decoders start
other programs (EPS starts Ghostscript).
"""

ENDINGS = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "gif"),
        *("tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
    )
)
"""File name extensions of images of `FORMATS`."""

LARGEST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: Pillow's own limit for a decompression bomb."""

_GRAY = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes of gray images, compared as a whole: LAB begins with L but is not gray."""

_SIXTEEN_BITS = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))
_PHOTOMETRIC = 262
"""Number of the TIFF tag that says whether 0 is white or black."""

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")

# Pillow warns above `LARGEST_PIXELS` and raises above twice that; this module raises above the
# first already, so the warning is disabled. warnings.catch_warnings is not thread-safe, so it is
# disabled once for the process.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class BadImageError(Exception):
    """Why an image is unusable; the caller adds which image it is."""


@dataclass(frozen=True)
class Decoded:
    """An upright image in mode L or RGB, with facts that are reported to the user.

    ``darkest`` and ``brightest`` are the extreme values of a 16-bit image, which is reduced to 8
    bits by dropping the lower ones (for colour known to a multiple of 256 only); else None.
    ``frames`` says that the file holds further images: frames of an animation or pages of a
    document.
    """

    image: Image.Image
    darkest: int | None = None
    brightest: int | None = None
    frames: bool = False


def decode(content: bytes, gray: bool | None = None, shape: ImageShape | None = None) -> Decoded:
    """Decode an image; of a file with several, the first one.

    16 bits become 8, transparent parts white, and gray is ITU-R 601-2 luma. Photographs are
    turned upright as their EXIF data says.

    Args:
        gray: whether to convert it to gray; None keeps its channels.
        shape: refuse an image of another shape, before its pixels are decoded.

    Raises:
        BadImageError: when it cannot be decoded, is too large to be decoded safely, or is of
            another shape.
    """
    image = opened(content)
    if shape is not None and (found := _shape(image)) != shape:
        raise BadImageError(
            f"images of mixed shapes, {found} here but {shape} before; resize them with "
            "`distgan data prepare --size`"
        )
    try:
        return _decode(image, gray)
    except BadImageError:
        shorter = _without_text(content)
        if shorter is None:
            raise
        # Text chunks after the pixels are reached only while decoding.
        return _decode(_open(shorter), gray)


def shape_of(content: bytes) -> ImageShape:
    """The shape that `decode` will give an image, from its header alone.

    Raises:
        BadImageError: when it is no image, or too large to be decoded safely.
    """
    return _shape(opened(content))


def is_plain(content: bytes, shape: ImageShape) -> bool:
    """Whether an image has this shape after decoding alone, without rotation, conversion of its
    mode, or transparency."""
    image = opened(content)
    mode = "L" if shape.channels == 1 else "RGB"
    plain = image.mode == mode and "transparency" not in image.info
    return plain and _orientation(image) == 1 and (image.height, image.width) == shape[1:]


def _decode(opened: Image.Image, gray: bool | None) -> Decoded:
    try:
        frames = bool(getattr(opened, "is_animated", False))
        # exif_transpose copies every image, so it is called only for those to be rotated.
        image = opened if _orientation(opened) == 1 else ImageOps.exif_transpose(opened)
        if _is_sixteen_bits(image, opened.format):
            return _of_sixteen_bits(image, opened, gray, frames)
        deep = _is_deep(opened)
        flat = as_wanted(image, gray)
        if not deep:
            return Decoded(flat, frames=frames)
        bands = [image.getchannel(band).getextrema() for band in "LRGB" if band in image.getbands()]
        ends = [int(end) * 257 for pair in bands for end in np.atleast_1d(pair)]
        return Decoded(flat, min(ends), max(ends), frames)
    except BadImageError:
        raise
    except Exception as error:
        # Pillow's decoders may raise any exception for damaged bytes.
        raise BadImageError(f"a damaged image ({first_line(error)})") from None


def _of_sixteen_bits(
    image: Image.Image, opened: Image.Image, gray: bool | None, frames: bool
) -> Decoded:
    # PNG and PGM files that Pillow opens in mode I hold 16-bit values only.
    wide = np.asarray(image).astype(np.uint16)
    eight = (wide >> 8).astype(np.uint8)
    if opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        # Pillow inverts white-is-zero TIFFs of at most 8 bits only.
        eight = 255 - eight
    # A gray PNG may declare one value as transparent, which becomes white.
    eight[wide == image.info.get("transparency", -1)] = 255
    flat = as_wanted(Image.fromarray(eight), gray)
    return Decoded(flat, int(wide.min()), int(wide.max()), frames)


def opened(content: bytes) -> Image.Image:
    """An image whose header has been read; a PNG with too much text is opened without it.

    Raises:
        BadImageError: when it is none, or too large to be decoded safely.
    """
    try:
        return _open(content)
    except BadImageError:
        shorter = _without_text(content)
        if shorter is None:
            raise
        # Pillow refuses a PNG with a megabyte of text, which is not used here.
        return _open(shorter)


def _open(content: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise BadImageError("too large to be decoded safely (a decompression bomb?)") from None
    except Exception:
        reason = f"not an image ({', '.join(FORMATS)} are read)" if content else "empty"
        raise BadImageError(reason) from None
    if image.width * image.height > LARGEST_PIXELS:
        raise BadImageError(
            f"{image.width}x{image.height} pixels are too many to be decoded safely "
            f"(over {LARGEST_PIXELS:,}; a decompression bomb?)"
        )
    return image


def _shape(image: Image.Image) -> ImageShape:
    height, width = image.height, image.width
    # Pillow gives the upright size of a TIFF, but the stored size of other formats.
    if image.format != "TIFF" and _orientation(image) >= 5:
        height, width = width, height
    return ImageShape(1 if image.mode in _GRAY else 3, height, width)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # The pixels may be undamaged even if the EXIF data is damaged.
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _is_deep(opened: Image.Image) -> bool:
    """Whether an image that is not yet decoded is stored with 16 bits a channel."""
    # The stored pixel format as Pillow names it; available before decoding only.
    stored = [str(tile[3]) for tile in getattr(opened, "tile", ())]
    if opened.format == "PPM":
        return any(int(number) > 255 for text in stored for number in re.findall(r"\d+", text))
    return any(";16" in text for text in stored)


def _is_sixteen_bits(image: Image.Image, form: str | None) -> bool:
    # Pillow's 32-bit mode I is also used for 16-bit PNG (older versions) and PGM, whose values
    # have at most 16 bits.
    return image.mode in _SIXTEEN_BITS or (image.mode == "I" and form in ("PNG", "PPM"))


def as_wanted(image: Image.Image, gray: bool | None) -> Image.Image:
    """The image in mode L or RGB, transparent parts white.

    Raises:
        BadImageError: for an image whose values are not brightnesses of 8 or 16 bits.
    """
    if image.mode in ("F", "I"):
        numbers = "floating-point" if image.mode == "F" else "32-bit whole"
        raise BadImageError(f"of {numbers} numbers; save it with 8 or 16 bits")
    wanted = "L" if (image.mode in _GRAY if gray is None else gray) else "RGB"
    if image.mode == "LAB":
        image = _from_lab(image)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    if image.mode == wanted:
        image.load()
        return image
    return image.convert(wanted)


def _from_lab(image: Image.Image) -> Image.Image:
    # Pillow's convert() does not support CIE L*a*b*, its ImageCms module (Little CMS) does.
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    found = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert found is not None
    return found


def _without_text(content: bytes) -> bytes | None:
    """A PNG without its text and colour profile; None if it is not a PNG or has neither."""
    if not content.startswith(_PNG):
        return None
    kept, at, left_out = [_PNG], len(_PNG), False
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        end = at + 12 + length
        if content[at + 4 : at + 8] in _TEXT_CHUNKS:
            left_out = True
        else:
            kept.append(content[at:end])
        at = end
    return b"".join(kept) if left_out else None


def range_note(darkest: int, brightest: int) -> str | None:
    """A remark about 16-bit images that use only the lower part of their range, or None.

    Args:
        darkest: lowest value of all images.
        brightest: highest value of all images.
    """
    if brightest >= 1 << 15:
        return None
    bits = max(8, brightest.bit_length())
    factor = 65535 // ((1 << bits) - 1)
    return (
        f"16-bit images with values of {darkest} to {brightest} of 65535: they come out dark, as "
        f"the upper 8 bits are taken; of {bits}-bit data? multiply it by {factor}, save it again"
    )
