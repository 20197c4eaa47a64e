"""The one decoder: from the bytes of an encoded image to upright gray or colour pixels.

Preparing a set, training on encoded Parquet and `distgan data info` all decode here, so that
the same bytes are the same pixels everywhere.
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
"""Pillow's names of the formats that are decoded; it is asked for no others.

Some of its decoders start other programs (EPS starts Ghostscript), and a format is told by the
content, not by the name of the file.
"""

ENDINGS = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "bmp", "dib", "gif"),
        *("tif", "tiff", "ppm", "pgm", "pbm", "pnm"),
    )
)
"""Endings of the files that are taken for images of `FORMATS`."""

LARGEST_PIXELS = 89_478_485
"""Pixels of the largest image that is decoded: Pillow's own limit for a decompression bomb."""

_GRAY = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N"))
"""Pillow's modes of gray images, whole: LAB begins like L and is none."""

_SIXTEEN_BITS = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))
_PHOTOMETRIC = 262
"""TIFF's tag that says whether 0 is white or black."""

_PNG = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")

# Pillow warns at `LARGEST_PIXELS` and refuses at twice that; here the first is refused already. A
# filter for each image instead (warnings.catch_warnings) would not be safe in several threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class BadImageError(Exception):
    """What is wrong with one image; whoever catches it knows which one it is."""


@dataclass(frozen=True)
class Decoded:
    """An image in mode L or RGB, upright, and what a person should hear about it.

    ``darkest`` and ``brightest`` are values of a 16-bit image, which became 8 bits by dropping
    the lower ones (in colour known to a 256th); else None. ``frames`` says that the file holds
    more than this one, of an animation or of a document's pages.
    """

    image: Image.Image
    darkest: int | None = None
    brightest: int | None = None
    frames: bool = False


def decode(content: bytes, gray: bool | None = None, shape: ImageShape | None = None) -> Decoded:
    """Decode an image: the first one, of a file of several.

    16 bits become 8, transparent parts white, and gray is ITU-R 601-2 luma. Photographs are
    turned upright as their EXIF data says.

    Args:
        gray: whether to make it gray; None leaves it as it is.
        shape: refuse an image of another one, before its pixels are decoded.

    Raises:
        BadImageError: when it cannot be decoded, is too large to be decoded safely, or is of
            another shape.
    """
    opened = _opened(content)
    if shape is not None and (found := _shape(opened)) != shape:
        raise BadImageError(
            f"images of mixed shapes, {found} here but {shape} before; resize them with "
            "`distgan data prepare --size`"
        )
    try:
        return _decode(opened, gray)
    except BadImageError:
        shorter = _without_text(content)
        if shorter is None:
            raise
        # Text behind the pixels is met only now.
        return _decode(_open(shorter), gray)


def shape_of(content: bytes) -> ImageShape:
    """The shape that `decode` will give an image, from its header alone.

    Raises:
        BadImageError: when it is no image, or too large to be decoded safely.
    """
    return _shape(_opened(content))


def is_plain(content: bytes, shape: ImageShape) -> bool:
    """Whether an image needs nothing but decoding to be of this shape: no turning, no
    conversion, no transparency."""
    image = _opened(content)
    mode = "L" if shape.channels == 1 else "RGB"
    plain = image.mode == mode and "transparency" not in image.info
    return plain and _orientation(image) == 1 and (image.height, image.width) == shape[1:]


def _decode(opened: Image.Image, gray: bool | None) -> Decoded:
    try:
        frames = bool(getattr(opened, "is_animated", False))
        # Turning is for the few: it copies.
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
        # Pillow's decoders raise whatever the damaged bytes led them to.
        raise BadImageError(f"a damaged image ({first_line(error)})") from None


def _of_sixteen_bits(
    image: Image.Image, opened: Image.Image, gray: bool | None, frames: bool
) -> Decoded:
    # PNG and PGM that Pillow gives as mode I hold no other numbers than these.
    wide = np.asarray(image).astype(np.uint16)
    eight = (wide >> 8).astype(np.uint8)
    if opened.format == "TIFF" and getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) == 0:
        # Pillow turns white and black only in TIFFs of 8 bits and fewer.
        eight = 255 - eight
    # PNG names one gray value that is transparent.
    eight[wide == image.info.get("transparency", -1)] = 255
    flat = as_wanted(Image.fromarray(eight), gray)
    return Decoded(flat, int(wide.min()), int(wide.max()), frames)


def _opened(content: bytes) -> Image.Image:
    """An image whose header has been read; a PNG without its text where that is too much."""
    try:
        return _open(content)
    except BadImageError:
        shorter = _without_text(content)
        if shorter is None:
            raise
        # Pillow refuses a PNG for a megabyte of text in it, which nothing here reads.
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
    # Of a TIFF Pillow tells the size as it is upright, of all others as it is stored.
    if image.format != "TIFF" and _orientation(image) >= 5:
        height, width = width, height
    return ImageShape(1 if image.mode in _GRAY else 3, height, width)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # Damaged EXIF data says nothing about the pixels, which may be whole.
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _is_deep(opened: Image.Image) -> bool:
    """Whether an image that is not yet decoded is stored with 16 bits a channel."""
    # How pixels are stored, in Pillow's words, which it forgets once it has decoded them.
    stored = [str(tile[3]) for tile in getattr(opened, "tile", ())]
    if opened.format == "PPM":
        return any(int(number) > 255 for text in stored for number in re.findall(r"\d+", text))
    return any(";16" in text for text in stored)


def _is_sixteen_bits(image: Image.Image, form: str | None) -> bool:
    # Pillow's mode I is 32 bits wide, and how it gives 16 bits of PNG (older versions) and PGM,
    # which know no more.
    return image.mode in _SIXTEEN_BITS or (image.mode == "I" and form in ("PNG", "PPM"))


def as_wanted(image: Image.Image, gray: bool | None) -> Image.Image:
    """The image in mode L or RGB, transparent parts white.

    Raises:
        BadImageError: for an image of numbers that are no brightnesses of 8 or 16 bits.
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
    # Pillow's convert() knows no CIE L*a*b*; Little CMS, which comes with it, does.
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    found = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert found is not None
    return found


def _without_text(content: bytes) -> bytes | None:
    """A PNG without its text and colour profile; None for what is no PNG or has none."""
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
    """What to say of 16-bit images that use only the lower part of their range, or nothing.

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
