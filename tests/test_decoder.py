"""The same bytes are the same pixels: prepared, trained on as they are, and drawn."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from distgan.config.shape import ImageShape
from distgan.data import picture
from distgan.data.decoder import BadImageError, decode, is_plain, range_note
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.shards import Made
from distgan.errors import UserError
from distgan.launch.prepare import prepare

DRAW = np.random.default_rng(3)
GRAY = DRAW.integers(0, 256, (6, 9), np.uint8)
COLOUR = DRAW.integers(0, 256, (6, 9, 3), np.uint8)
ALPHA = DRAW.integers(0, 256, (6, 9), np.uint8)
DEEP = DRAW.integers(0, 65536, (6, 9), np.uint16)


def encoded(image: Image.Image, form: str, **extra: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **extra)
    return buffer.getvalue()


def over_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.float64]:
    share = alpha[..., None] / 255
    return pixels * share + 255 * (1 - share)


def luma(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    return (pixels @ np.array([0.299, 0.587, 0.114]))[..., None]


_SHARP: dict[str, dict[str, object]] = {
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 100, "subsampling": 0},
}


def turned(orientation: int, form: str) -> tuple[bytes, NDArray[np.uint8]]:
    """A photograph as a camera stores it that was held otherwise, and as people see it.

    The first row and column of what is stored are, by EXIF's table (CIPA DC-008, tag 274):
    2 top, right; 3 bottom, right; 4 bottom, left; 5 left, top; 6 right, top; 7 right, bottom;
    8 left, bottom.
    """
    flip, spin = np.fliplr, np.rot90
    seen = {
        2: flip(COLOUR), 3: spin(COLOUR, 2), 4: np.flipud(COLOUR), 5: COLOUR.swapaxes(0, 1),
        6: spin(COLOUR, -1), 7: spin(COLOUR, 2).swapaxes(0, 1), 8: spin(COLOUR, 1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(Image.fromarray(COLOUR), form, exif=exif, **_SHARP.get(form, {})), seen


def lab_to_srgb(lab: NDArray[np.uint8]) -> NDArray[np.float64]:
    """CIE 15 and IEC 61966-2-1, by way of XYZ under D50."""
    light = lab[..., 0].astype(float) * 100 / 255
    a, b = (lab[..., k].astype(np.int8).astype(float) for k in (1, 2))
    fy = (light + 16) / 116

    def cube(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(t > 6 / 29, t**3, 3 * (6 / 29) ** 2 * (t - 4 / 29))

    xyz = np.stack([0.9642 * cube(fy + a / 500), cube(fy), 0.8249 * cube(fy - b / 200)], -1)
    to_rgb = np.array(
        [
            [3.1338561, -1.6168667, -0.4906146],
            [-0.9787684, 1.9161415, 0.0334540],
            [0.0719453, -0.2289914, 1.4052427],
        ]
    )
    linear = np.clip(xyz @ to_rgb.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(curved * 255)


def lab_image() -> Image.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransform(srgb, lab, "RGB", "LAB")
    # Muted colours: of others sRGB holds only the nearest.
    found = ImageCms.applyTransform(Image.fromarray(COLOUR // 4 + 96), to_lab)
    assert found is not None
    return found


def palette() -> tuple[bytes, NDArray[np.float64]]:
    """A GIF-like palette of four colours, of which the third is transparent."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
    indices = (GRAY % 4).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(colours.ravel().tolist())
    wanted = colours[indices].astype(float)
    wanted[indices == 2] = 255
    return encoded(image, "PNG", transparency=2), wanted


def sixteen_with_transparent(value: int) -> tuple[bytes, NDArray[np.float64]]:
    """A 16-bit gray PNG whose tRNS chunk makes one value transparent."""
    pixels = DEEP.copy()
    pixels[2, 3] = value
    content = encoded(Image.fromarray(pixels), "PNG")
    chunk = b"tRNS" + struct.pack(">H", value)
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    at = content.index(b"IDAT") - 4
    wanted = (pixels >> 8).astype(float)
    wanted[pixels == value] = 255
    return content[:at] + chunk + content[at:], wanted[..., None]


def cases() -> dict[str, tuple[bytes, NDArray[np.float64], float]]:
    """Encoded images of every mode, the pixels that they should be, and how far off is alike."""
    picture_of = Image.fromarray
    rgba = np.dstack([COLOUR, ALPHA])
    la = Image.merge("LA", (picture_of(GRAY), picture_of(ALPHA)))
    one = picture_of(np.where(GRAY > 127, 255, 0).astype(np.uint8)).convert("1")
    cmyk = DRAW.integers(0, 256, (6, 9, 4), np.uint8)
    ink = (255 - cmyk[..., :3].astype(float)) * (255 - cmyk[..., 3:].astype(float)) / 255
    gray = GRAY[..., None].astype(float)
    lab = lab_image()
    found: dict[str, tuple[bytes, NDArray[np.float64], float]] = {
        "L": (encoded(picture_of(GRAY), "PNG"), gray, 0),
        "RGB": (encoded(picture_of(COLOUR), "PNG"), COLOUR.astype(float), 0),
        "LA": (encoded(la, "PNG"), over_white(GRAY[..., None], ALPHA), 1),
        "RGBA": (encoded(picture_of(rgba), "PNG"), over_white(COLOUR, ALPHA), 1),
        "P with transparency": (*palette(), 0),
        "1": (encoded(one, "PNG"), np.where(GRAY > 127, 255.0, 0.0)[..., None], 0),
        "16-bit PNG": (encoded(picture_of(DEEP), "PNG"), (DEEP >> 8)[..., None].astype(float), 0),
        "16-bit TIFF": (encoded(picture_of(DEEP), "TIFF"), (DEEP >> 8)[..., None].astype(float), 0),
        "16-bit PGM": (
            b"P5 9 6 65535\n" + DEEP.astype(">u2").tobytes(),
            (DEEP >> 8)[..., None].astype(float),
            0,
        ),
        "16-bit with transparency": (*sixteen_with_transparent(40_000), 0),
        "CMYK": (encoded(picture_of(cmyk, "CMYK"), "TIFF"), ink, 2),
        "LAB": (encoded(lab, "TIFF"), lab_to_srgb(np.asarray(lab)), 2),
        "YCbCr": (
            encoded(picture_of(COLOUR).convert("YCbCr"), "TIFF", compression="tiff_lzw"),
            COLOUR.astype(float),
            3,
        ),
    }
    for form, tolerance in (("PNG", 0), ("TIFF", 0), ("WEBP", 0), ("JPEG", 8)):
        for orientation in range(2, 9) if form == "PNG" else (6, 8):
            content, seen = turned(orientation, form)
            found[f"EXIF {orientation} {form}"] = (content, seen.astype(float), tolerance)
    white = DEEP.copy()
    content = encoded(Image.fromarray(white), "TIFF", tiffinfo={262: 0})
    found["16-bit TIFF, white is 0"] = (content, (255 - (white >> 8))[..., None].astype(float), 0)
    return found


CASES = cases()


@pytest.mark.parametrize("mode", CASES)
def test_the_same_pixels_everywhere(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, wanted, tolerance = CASES[mode]
    # As a source, by `data prepare`.
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.png").write_bytes(content)
    prepare(str(tmp_path / "source"), str(tmp_path / "set"), workers=0)
    prepared = read_resident(open_images(str(tmp_path / "set"))).images[0]
    # As it is, by training.
    pq.write_table(pa.table({"image": [content]}), tmp_path / "a.parquet")
    trained_on = read_resident(open_images(str(tmp_path / "a.parquet"))).images[0]
    # As `data info` draws it.
    drawn: list[NDArray[np.uint8]] = []
    monkeypatch.setattr(picture, "draw", lambda title, rows, *_: drawn.append(rows[0][0]) or b"")
    inform(str(tmp_path / "a.parquet"))
    assert prepared.shape == wanted.shape
    assert np.abs(prepared - wanted).max() <= tolerance
    np.testing.assert_array_equal(trained_on, prepared)
    np.testing.assert_array_equal(drawn[0], prepared)


NUMBERS = {
    "floats": (Image.fromarray(DEEP.astype(np.float32)), "of floating-point numbers"),
    "32-bit": (Image.fromarray(DEEP.astype(np.int32) << 8), "of 32-bit whole numbers"),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_that_are_no_brightnesses_are_refused(tmp_path: Path, kind: str) -> None:
    image, said = NUMBERS[kind]
    content = encoded(image, "TIFF")
    with pytest.raises(BadImageError, match=said):
        decode(content)
    pq.write_table(pa.table({"image": [content]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=f"row 0: {said}"):
        read_resident(open_images(str(tmp_path / "a.parquet")))


def test_data_of_twelve_bits_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for number, top in enumerate((900, 4095)):
        pixels = np.linspace(7, top, 54).astype(np.uint16).reshape(6, 9)
        (tmp_path / "source" / f"{number}.png").write_bytes(encoded(Image.fromarray(pixels), "PNG"))
    said: list[str] = []
    prepare(str(tmp_path / "source"), str(tmp_path / "set"), workers=0, note=said.append)
    (line,) = said
    assert "values of 7 to 4095 of 65535" in line
    # Of 0 as the lowest value, and in colour, where Pillow gives the upper 8 bits only.
    made = Made()
    made.hear(decode(encoded(Image.fromarray(np.array([[0, 9]], np.uint16)), "PNG")))
    made.hear(decode(encoded(Image.fromarray(np.array([[7, 9]], np.uint16)), "PNG")))
    assert (made.darkest, made.brightest) == (0, 9)
    colour = b"P6 2 1 65535\n" + np.array([0, 4095, 9, 8, 7, 300], ">u2").tobytes()
    found = decode(colour)
    assert found.brightest is not None
    assert abs(found.brightest - 4095) < 256
    assert "of 12-bit data? multiply it by 16" in line
    assert range_note(0, 65535) is None


def test_animations_and_pages_are_counted(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    frames = [Image.fromarray(DRAW.integers(0, 256, (6, 9), np.uint8)) for _ in range(3)]
    for form in ("gif", "tiff", "webp"):
        name = tmp_path / "source" / f"a.{form}"
        frames[0].convert("RGB").save(
            name, save_all=True, append_images=[each.convert("RGB") for each in frames[1:]]
        )
    frames[0].convert("RGB").save(tmp_path / "source" / "b.png")
    said: list[str] = []
    prepare(str(tmp_path / "source"), str(tmp_path / "set"), workers=0, note=said.append)
    assert said == ["left alone: all but the first frame or page of 3 images"]


def test_text_in_a_png_does_not_matter() -> None:
    content = encoded(Image.fromarray(GRAY), "PNG")
    text = b"zTXt" + b"Comment\0\0" + zlib.compress(b"x" * 3_000_000)
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    for mark in (b"IDAT", b"IEND"):
        at = content.index(mark) - 4
        found = decode(content[:at] + chunk + content[at:])
        np.testing.assert_array_equal(np.asarray(found.image), GRAY)
    # Kept as it is, too.
    long = content[:at] + chunk + content[at:]
    assert is_plain(long, ImageShape(1, 6, 9))
