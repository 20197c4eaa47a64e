"""Decodes videos by the program ffmpeg, which is a process of its own.

Frames come through a pipe as PAM, an image format whose header gives each frame's size and
channels (https://netpbm.sourceforge.net/doc/pam.html).
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distgan.data.decoder import LARGEST_PIXELS, BadImageError, as_wanted
from distgan.data.sources.base import open_regular
from distgan.errors import UserError, first_line, printable
from distgan.storage import machine

ENDINGS = frozenset(
    ("mp4", "m4v", "mov", "3gp", "avi", "mkv", "webm", "mpg", "mpeg", "wmv", "flv", "ogv")
)
"""File name extensions of videos."""

SECONDS = 60.0
"""How long ffmpeg may take for one frame."""

_CONTAINERS = "mov,matroska,avi,mpeg,mpegvideo,mpegts,asf,flv,ogg"
"""ffmpeg's names of the formats that are opened; all others are disabled.

ffmpeg recognises a format by the content, and some, such as playlists, make it open other files.
"""

_SAME = "settb=1/25,setpts=N"
_SCALE = "scale=flags=bicubic+accurate_rnd+full_chroma_int+bitexact"
_FORMATS = "format=pix_fmts=rgb24|rgba|gray|ya8"
_EVERY_FRAME = ("-vf", f"{_SAME},{_SCALE},{_FORMATS}", "-r", "25")
"""Every stored frame once. ffmpeg would repeat and leave out frames for an even rate; the option
against it has changed its name between versions, so all frames are given the times of one."""

_LONGEST_HEADER = 1024


def program(videos: str) -> str:
    """The path of ffmpeg.

    Args:
        videos: what it is needed for, for the error.

    Raises:
        UserError: when it is not on PATH.
    """
    found = machine.ffmpeg()
    if found is None:
        raise UserError(
            f"{videos}: videos are decoded by the program ffmpeg, and PATH has none; install it "
            "(apt install ffmpeg, brew install ffmpeg, conda install ffmpeg), or make a GIF, an "
            "animated WebP or a folder of frames of each video"
        )
    return found


def rate(ffmpeg: str, path: Path) -> float | None:
    """Frames a second, as the file states them or ffmpeg makes them out; None for neither.

    Raises:
        BadImageError: when it cannot be opened.
    """
    # The header of a YUV4MPEG2 stream tells the rate; the frame after it is not needed.
    shape = ("-vf", "scale=16:16,format=pix_fmts=yuv444p", "-frames:v", "1", "-f", "yuv4mpegpipe")
    command = [*_reading(ffmpeg, path), *shape, "pipe:1"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise BadImageError(_LATE) from None
    except OSError as error:
        raise BadImageError(f"ffmpeg cannot be started ({first_line(error)})") from None
    if done.returncode:
        _judge(done.returncode, done.stderr)
    found = re.match(rb"YUV4MPEG2 [^\n]*?\bF([0-9]{1,9}):([0-9]{1,9})\b", done.stdout)
    above, below = (int(found[1]), int(found[2])) if found else (0, 0)
    return above / below if above and below else None


def frames(ffmpeg: str, path: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video from the first on: uint8 (h, w, c), upright, of one channel or three.

    Transparent parts become white, and every stored frame is given once. One frame is in memory.

    Raises:
        BadImageError: when ffmpeg finds any damage, or takes longer than `SECONDS` for a frame.
    """
    _refuse_unfit(path)
    command = [*_reading(ffmpeg, path), *_EVERY_FRAME, "-c:v", "pam", "-f", "image2pipe", "pipe:1"]
    with tempfile.TemporaryFile() as said:
        try:
            # Unbuffered, so that select() knows of everything that is waiting.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, bufsize=0
            )
        except OSError as error:
            raise BadImageError(f"ffmpeg cannot be started ({first_line(error)})") from None
        assert process.stdout is not None
        try:
            with process.stdout as pipe:
                stream = _Stream(pipe)
                while (frame := _frame(stream)) is not None:
                    yield frame
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise BadImageError(_LATE) from None
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        words = said.read(1 << 16)
        _judge(code, words)


def _reading(ffmpeg: str, path: Path) -> list[str]:
    """The command as far as its input: the file's name is no option, pattern or protocol."""
    return [
        *(ffmpeg, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning"),
        # One thread, as several clips are read at a time.
        *("-threads", "1", "-filter_threads", "1", "-max_pixels", str(LARGEST_PIXELS)),
        *("-protocol_whitelist", "file,pipe", "-format_whitelist", _CONTAINERS),
        # Where frames change their size, filters would begin anew, and count them from 0.
        *("-reinit_filter", "0", "-i", f"file:{path.absolute()}", "-map", "0:V:0"),
    ]


_LATE = f"ffmpeg gave no frame for {SECONDS:.0f} s; encode it again"
_ERROR = re.compile(r"\[(?:error|fatal|panic)\] (.*)")
_CHANGE = "Changing video frame properties"
"""Of ffmpeg's warning that frames have another size by now; it makes them those of the first."""


def _judge(code: int, words: bytes) -> None:
    """Refuse a video by what ffmpeg said: of damage it speaks, but goes on and ends well.

    Raises:
        BadImageError: when it failed, or spoke of damage or of a change.
    """
    lines = words.decode(errors="replace").splitlines()
    said = next((found[1] for line in lines if (found := _ERROR.search(line))), None)
    if code and said is None:
        said = lines[0] if lines else "without a word"
    if said is not None:
        reason = printable(said.strip()[:200])
        raise BadImageError(f"damaged, or no video, as ffmpeg finds ({reason}); encode it again")
    if any(_CHANGE in line for line in lines):
        raise BadImageError("frames of mixed sizes or colours, as ffmpeg finds; encode it again")


def _refuse_unfit(path: Path) -> None:
    """Refuse what is no regular file, or an AVI that is cut short, of which ffmpeg says nothing."""
    try:
        with open_regular(path) as stream:
            head, size = stream.read(12), os.fstat(stream.fileno()).st_size
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise BadImageError(f"cannot be read ({reason})") from None
    # RIFF counts what follows its own eight bytes.
    if head[:4] == b"RIFF" and size < 8 + int.from_bytes(head[4:8], "little"):
        raise BadImageError("an AVI that is cut short; copy it again")


class _Stream:
    """What a program writes, with a limit to the time that it may take."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._ahead = pipe, bytearray()

    def header(self) -> list[bytes]:
        """The lines up to ENDHDR; none at the end of the stream."""
        while (end := self._ahead.find(b"\nENDHDR\n")) < 0:
            if len(self._ahead) > _LONGEST_HEADER:
                raise BadImageError(_FOREIGN)
            piece = bytearray(_LONGEST_HEADER)
            got = self._read(memoryview(piece))
            if not got:
                if self._ahead:
                    raise BadImageError(_ENDED)
                return []
            self._ahead += piece[:got]
        lines = bytes(self._ahead[:end]).split(b"\n")
        del self._ahead[: end + len(b"\nENDHDR\n")]
        return lines

    def exactly(self, count: int) -> bytearray:
        """So many bytes."""
        found = bytearray(count)
        at = min(count, len(self._ahead))
        found[:at] = self._ahead[:at]
        del self._ahead[:at]
        with memoryview(found) as whole:
            while at < count:
                got = self._read(whole[at:])
                if not got:
                    raise BadImageError(_ENDED)
                at += got
        return found

    def _read(self, into: memoryview) -> int:
        late = time.monotonic() + SECONDS
        while not select.select([self._pipe], [], [], max(0.0, late - time.monotonic()))[0]:
            if time.monotonic() >= late:
                raise BadImageError(_LATE)
        return self._pipe.readinto(into)  # type: ignore[attr-defined, no-any-return]


_FOREIGN = "what ffmpeg gave for it is no PAM; install another ffmpeg"
_ENDED = "ffmpeg ended in the middle of a frame; encode it again"


def _frame(stream: _Stream) -> NDArray[np.uint8] | None:
    """The next frame; None at the end."""
    lines = stream.header()
    if not lines:
        return None
    values = dict(line.split(b" ", 1) for line in lines[1:] if b" " in line)
    try:
        width, height, depth, most = (
            int(values[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
    except (KeyError, ValueError):
        raise BadImageError(_FOREIGN) from None
    if lines[0] != b"P7" or most != 255 or not 1 <= depth <= 4 or min(width, height) < 1:
        raise BadImageError(_FOREIGN)
    if width * height > LARGEST_PIXELS:
        raise BadImageError(f"{width}x{height} pixels are too many (over {LARGEST_PIXELS:,})")
    content = stream.exactly(width * height * depth)
    pixels = np.frombuffer(content, np.uint8).reshape(height, width, depth)
    if depth in (1, 3):
        return pixels
    return np.array(as_wanted(Image.fromarray(pixels), None), np.uint8).reshape(height, width, -1)
