"""Pictures one after another as a film: WEBP, GIF and APNG by Pillow, MP4 by ffmpeg."""

from __future__ import annotations

import io
import itertools
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from distgan.errors import UserError, first_line
from distgan.storage import machine
from distgan.storage.storage import last_name

KINDS = ("webp", "gif", "png", "mp4")
"""Formats, by the ending of a file's name; ``png`` is an animated PNG."""
MOST_FRAMES = 100_000
"""Upper bound of the frames of a film: more is a typing mistake."""
_FASTEST = {"gif": 50.0}
"""Most frames a second: a GIF counts in hundredths of a second, and viewers slow down below two."""
FASTEST = 240.0
QUALITY = 90
"""Of a WEBP; 100 keeps every pixel."""
_DESCRIPTION = 0x010E
"""Exif's ImageDescription."""
_FRAMES_OF_PALETTE = 16
"""How many frames the colours of a GIF are chosen by."""


def kind_of(path: str, option: str) -> str:
    """The format that a file's name asks for, one of `KINDS`.

    Raises:
        UserError: for any other name, or a format that this machine cannot write.
    """
    ending = last_name(path).rpartition(".")[2].lower()
    if ending not in KINDS:
        raise UserError(f"{option} {path}: a film is a .{', .'.join(KINDS[:-1])} or .{KINDS[-1]}")
    if ending == "mp4" and machine.ffmpeg() is None:
        raise UserError(
            f"{option} {path}: MP4 is written by the program ffmpeg, which is not on the PATH; "
            "install it, or name a .webp"
        )
    if ending == "webp" and not features.check("webp"):
        raise UserError(f"{option} {path}: this Pillow cannot write WEBP; name a .gif or .png")
    return ending


def check_speed(kind: str, fps: float) -> None:
    """See that a format can show so many frames a second.

    Raises:
        UserError: when it cannot.
    """
    most = _FASTEST.get(kind, FASTEST)
    if not 0.01 <= fps <= most:
        raise UserError(
            f"--fps {fps:g}: should be 0.01 to {most:g}{' for a GIF' if kind in _FASTEST else ''}"
        )


def encode(
    frames: Iterable[Image.Image],
    kind: str,
    fps: float,
    hold: float = 0.0,
    *,
    quality: int = QUALITY,
    effort: int = 4,
    said: str = "",
) -> bytes:
    """A film that repeats for ever, where the format can say so.

    A PNG keeps every pixel, and a GIF every pixel of grey pictures; of coloured ones a GIF has
    256 colours, the same in all frames and without dither, so that what stands still does not
    flicker.

    Args:
        frames: pictures of one size and mode (L or RGB), at least one; taken one at a time for
            MP4, else held in memory by Pillow.
        kind: one of `KINDS`.
        fps: frames a second. A GIF counts in hundredths of a second, a WEBP or PNG in thousandths:
            times are rounded so that they add up.
        hold: seconds for which the last frame is shown longer.
        quality: of a WEBP, 1 to 100; 100 keeps every pixel.
        effort: of a WEBP, 0 to 6: more makes it smaller, and takes longer.
        said: what a WEBP or PNG says of itself, as its Exif image description.

    Raises:
        UserError: when ffmpeg fails, with what it says.
    """
    if kind == "mp4":
        return _mp4(frames, fps, hold)
    pictures = list(frames)
    unit = 10 if kind == "gif" else 1
    ends = [round((n + 1) * 1000 / fps / unit) * unit for n in range(len(pictures))]
    times = [end - start for start, end in itertools.pairwise([0, *ends])]
    times[-1] += round(hold * 1000 / unit) * unit
    how: dict[str, Any] = {"duration": times, "loop": 0}
    if kind == "gif":
        pictures, how["palette"] = _with_one_palette(pictures)
    elif said:
        exif = Image.Exif()
        exif[_DESCRIPTION] = said
        how["exif"] = exif
    if kind == "webp":
        how |= {"lossless": True} if quality == 100 else {"quality": quality}
        how["method"] = effort
    buffer = io.BytesIO()
    first, *rest = pictures
    first.save(buffer, kind.upper(), save_all=True, append_images=rest, **how)
    return buffer.getvalue()


def description(content: bytes) -> str:
    """What a picture says of itself, as `encode` wrote it; empty without, or for no picture."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return str(picture.getexif().get(_DESCRIPTION, ""))
    except Exception:
        # The library may raise any exception for a foreign file.
        return ""


def _with_one_palette(pictures: list[Image.Image]) -> tuple[list[Image.Image], bytes]:
    """Pictures of one palette, and that as bytes: then a GIF has one for all frames, too."""
    if pictures[0].mode == "L":
        return pictures, bytes(level for level in range(256) for _ in range(3))
    # What moves in one frame moves in all; a few suffice to know the colours.
    step = -(-len(pictures) // _FRAMES_OF_PALETTE)
    seen = np.concatenate([np.asarray(each) for each in pictures[::step]])
    palette = Image.fromarray(seen).quantize(256, Image.Quantize.MEDIANCUT)
    found = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
    return found, bytes(palette.getpalette() or b"")


def _mp4(frames: Iterable[Image.Image], fps: float, hold: float) -> bytes:
    remaining = iter(frames)
    first = last = next(remaining)
    size = f"{first.width}x{first.height}"
    with tempfile.TemporaryDirectory(prefix="distgan-film-") as folder:
        out, said = Path(folder, "film.mp4"), Path(folder, "said")
        # 4:2:0, which every player shows, wants even sides.
        command = [
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:.6g}", "-i", "-"),
            *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-crf", "18"),
            *("-movflags", "+faststart", str(out)),
        ]
        with open(said, "wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=errors, stderr=errors)
        assert process.stdin is not None
        try:
            with process.stdin as stream:
                for last in itertools.chain([first], remaining):
                    stream.write(last.convert("RGB").tobytes())
                for _ in range(round(hold * fps)):
                    stream.write(last.convert("RGB").tobytes())
        except BrokenPipeError:
            pass  # It has ended by itself, and says why.
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        if process.returncode or not out.exists():
            why = first_line(Exception(said.read_text(errors="replace").strip() or "no word"))
            raise UserError(f"--out: ffmpeg cannot write the film ({why}); name a .webp")
        return out.read_bytes()
