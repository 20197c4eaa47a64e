"""Videos by ffmpeg: by a program that behaves as documented, and by the real one where it is."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgan.data.clips import ffmpeg
from distgan.data.clips.files import open_files
from distgan.data.clips.reel import Reel

from .test_clip_arrays import outcome
from .test_clip_files import Clip, animate, clip, clips, pixels, reason, refused
from .test_fuzzed_sources import WAYS

STAND_IN = """#!{python} -S
import json, sys, time
words = sys.argv[1:]
at = words.index("-i")
assert words[at + 1].startswith("file:/"), words
wanted = {{"-protocol_whitelist": "file,pipe", "-map": "0:V:0", "-loglevel": "level+warning"}}
for name in wanted:
    assert words[words.index(name) + 1] == wanted[name], words
assert "-nostdin" in words[:at] and "-format_whitelist" in words[:at], words
assert words[-1] == "pipe:1" and sys.stdin.read() == "", words
open(sys.argv[0] + ".pids", "a").write(str(__import__("os").getpid()) + chr(10))
film = json.load(open(words[at + 1][5:]))
out = sys.stdout.buffer
if "yuv4mpegpipe" in words:
    out.write(b"YUV4MPEG2 W16 H16 F%d:%d Ip A1:1 C444 XYSCSS=444\\nFRAME\\n" % tuple(film["fps"]))
    out.write(bytes(16 * 16 * 3))
    sys.exit(0)
assert words[words.index("-c:v") + 1] == "pam", words
kinds = dict(zip((1, 2, 3, 4), ("GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA")))
for height, width, depth, pixels in film["frames"]:
    head = "P7\\nWIDTH %d\\nHEIGHT %d\\nDEPTH %d\\nMAXVAL 255\\nTUPLTYPE %s\\nENDHDR\\n"
    out.write((head % (width, height, depth, kinds[depth])).encode() + bytes.fromhex(pixels))
    out.flush()
    time.sleep(film.get("sleep", 0))
out.write(film.get("more", "").encode())
sys.stderr.write(film.get("says", ""))
sys.exit(film.get("code", 0))
"""


def film(path: Path, frames: Any, fps: tuple[int, int] = (25, 1), **more: Any) -> Path:
    """A file that the stand-in plays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    told = [(*frame.shape, frame.tobytes().hex()) for frame in frames]
    path.write_text(json.dumps({"fps": fps, "frames": told, **more}))
    return path


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def running(program: Path) -> list[int]:
    """Processes of the stand-in that have not ended."""
    pids = map(int, Path(f"{program}.pids").read_text().split())
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_videos_against_what_the_program_plays(tmp_path: Path, stand_in: Path) -> None:
    film(tmp_path / "set" / "run" / "2.mp4", clip(2, 7), (30000, 1001))
    film(tmp_path / "set" / "run" / "10.webm", clip(3, 4, channels=1), (0, 0))
    animate(tmp_path / "set" / "walk" / "1.gif", clip(4), 100)
    source = pickle.loads(pickle.dumps(open_files(tmp_path / "set", "train")))
    colour, gray, animation = clips(source)
    np.testing.assert_array_equal(pixels(colour), clip(2, 7))
    np.testing.assert_array_equal(pixels(gray), clip(3, 4, channels=1))
    np.testing.assert_array_equal(pixels(animation), clip(4))
    assert [item.fps for item in (colour, gray, animation)] == [30000 / 1001, None, 10]
    assert [item.label for item in (colour, gray, animation)] == [0, 0, 1]


@pytest.mark.parametrize("depth", [2, 4])
def test_transparent_videos_become_white(tmp_path: Path, stand_in: Path, depth: int) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 4, 5, depth), np.uint8)
    film(tmp_path / "a.mov", frames)
    (item,) = clips(open_files(tmp_path / "a.mov", "train"))
    alpha = frames[..., -1:] / 255
    wanted = frames[..., :-1] * alpha + 255 * (1 - alpha)
    assert pixels(item).shape == (3, 4, 5, depth - 1)
    np.testing.assert_allclose(pixels(item), wanted, atol=1)


NAMES = ["-i.mp4", "a%03d.mp4", "concat:a|b.mp4", "http:x.mp4", "$(touch x);'\".mp4", "\udcff.mp4"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files_are_names(
    tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    film(tmp_path / "set" / name, clip(1))
    monkeypatch.chdir(tmp_path / "set")
    for path in (Path(name), Path("."), tmp_path / "set"):
        (item,) = clips(open_files(path, "train"))
        np.testing.assert_array_equal(pixels(item), clip(1))


def test_damage_that_the_program_finds(tmp_path: Path, stand_in: Path) -> None:
    mixed = [*clip(1), *clip(1, height=14)]
    words = (
        "[mov @ 0x5581c0ffee00] [warning] an odd atom\n"
        "[h264 @ 0x5581c0ffee00] [error] Invalid NAL unit\x1b[31m size\n[error] more\n"
    )
    change = "[graph @ 0x7f] [warning] Changing video frame properties on the fly is not ...\n"
    films = {
        "code": film(tmp_path / "0.mp4", clip(1), code=1),
        "says": film(tmp_path / "1.mp4", clip(1), says=words),
        "mixed": film(tmp_path / "2.mp4", mixed),
        "foreign": film(tmp_path / "3.mp4", clip(1), more="x" * 5000),
        "ended": film(tmp_path / "4.mp4", clip(1), more="P7\nWIDTH 2\nHEIG"),
        "none": film(tmp_path / "5.mp4", []),
        "good": film(tmp_path / "6.mp4", clip(6), says="[warning] an odd atom\n"),
        "change": film(tmp_path / "7.mp4", clip(1), says=change),
    }
    source = open_files(tmp_path, "train")
    found = {name: (source, number) for number, name in enumerate(films)}
    assert "without a word" in reason(*found["code"])
    assert "finds (Invalid NAL unit\ufffd[31m size); encode" in reason(*found["says"])
    assert "frame 5 is 14x16x3" in reason(*found["mixed"])
    assert "no PAM" in reason(*found["foreign"])
    assert "in the middle of a frame" in reason(*found["ended"])
    assert "holds no frame" in reason(*found["none"])
    np.testing.assert_array_equal(pixels(clips(source)[6]), clip(6))
    assert "mixed sizes or colours" in reason(*found["change"])
    os.mkfifo(tmp_path / "8.mp4")
    (tmp_path / "9.mp4").symlink_to("nowhere")
    source = open_files(tmp_path, "train")
    assert "not a regular file" in reason(source, 8)
    assert "No such file" in reason(source, 9)
    assert running(stand_in) == []


def test_a_program_that_hangs_is_ended(
    tmp_path: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "a.mp4", clip(1), sleep=60)
    monkeypatch.setattr(ffmpeg, "SECONDS", 1.0)
    start = time.monotonic()
    assert "gave no frame for" in reason(open_files(tmp_path / "a.mp4", "train"))
    assert time.monotonic() - start < 20
    assert running(stand_in) == []


def test_a_film_that_is_left_early_ends_its_program(tmp_path: Path, stand_in: Path) -> None:
    path = film(tmp_path / "a.mp4", clip(1, 30))
    reel = Reel(lambda: ffmpeg.frames(str(stand_in), path), held_bytes=0)
    film(path, clip(2, 30), sleep=0.5)
    np.testing.assert_array_equal(np.asarray(reel[1]), clip(2, 30)[1])
    assert len(running(stand_in)) == 1
    reel.close()
    assert running(stand_in) == []


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animate(tmp_path / "set" / "a.gif", clip(1))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert open_files(tmp_path / "set", "train").count == 1
    (tmp_path / "set" / "b.mp4").write_bytes(b"-")
    said = refused(open_files, tmp_path / "set", "train")
    assert "set: 1 videos: videos are decoded by the program ffmpeg" in said
    assert "apt install ffmpeg" in said
    assert "animated WebP" in said


# --- the real program


def real(*words: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, words)], check=True, timeout=60)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg")
LOSSLESS = ("-c:v", "ffv1")


def encoded(path: Path, frames: Clip, *words: object, fps: str = "12") -> Path:
    """A video of these frames by the real program."""
    height, width, channels = frames.shape[1:]
    kind = "gray" if channels == 1 else "rgb24"
    raw = path.with_suffix(".raw")
    raw.write_bytes(frames.tobytes())
    size = ("-f", "rawvideo", "-pix_fmt", kind, "-s", f"{width}x{height}", "-r", fps)
    real(*size, "-i", raw, *words, path)
    raw.unlink()
    return path


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_videos_are_exact(tmp_path: Path, channels: int) -> None:
    frames = clip(1, 9, 14, 18, channels)
    form = ("-pix_fmt", "gray" if channels == 1 else "bgr0")
    path = encoded(tmp_path / "a.mkv", frames, *LOSSLESS, *form, fps="30000/1001")
    (item,) = clips(open_files(path, "train"))
    np.testing.assert_array_equal(pixels(item), frames)
    assert item.fps == pytest.approx(30000 / 1001)


def smooth(frames: int = 12, height: int = 48, width: int = 64) -> Clip:
    """Soft colours that move."""
    t, y, x = np.mgrid[:frames, :height, :width]
    waves = [np.sin((x + 2 * t) / 9), np.cos((y + t) / 7), np.sin((x + y - 3 * t) / 11)]
    return np.stack([128 + 90 * wave for wave in waves], 3).astype(np.uint8)


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["mp4", "mov", "avi", "mkv", "webm", "mpg", "m4v", "wmv"])
def test_usual_videos_are_near(tmp_path: Path, ending: str) -> None:
    frames, fps = smooth(), "25" if ending == "mpg" else "12"
    path = encoded(tmp_path / f"a.{ending}", frames, "-b:v", "2M", fps=fps)
    (item,) = clips(open_files(path, "train"))
    found = pixels(item)
    assert found.shape == frames.shape
    assert item.fps == int(fps)
    assert np.abs(found.astype(int) - frames).mean() < 8


@needs_ffmpeg
@pytest.mark.slow
def test_frames_at_uneven_times_are_each_given_once(tmp_path: Path) -> None:
    frames = clip(2, 20)
    times = ("-vf", "settb=1/1000,setpts=N*N*7+N*3", "-vsync", "passthrough")
    path = encoded(tmp_path / "a.mkv", frames, *times, *LOSSLESS, "-pix_fmt", "bgr0")
    (item,) = clips(open_files(path, "train"))
    np.testing.assert_array_equal(pixels(item), frames)


@needs_ffmpeg
@pytest.mark.slow
def test_turned_videos_are_upright(tmp_path: Path) -> None:
    plain = encoded(tmp_path / "plain.mp4", smooth())
    (flat,) = clips(open_files(plain, "train"))
    # The matrix of a track (ISO 14496-12, tkhd), which players turn by: here by a quarter.
    content = plain.read_bytes()
    one, wide = (1 << 16).to_bytes(4, "big"), (1 << 30).to_bytes(4, "big")
    none = bytes(4)
    upright = one + none * 3 + one + none * 3 + wide
    turned = none + one + none + (-(1 << 16)).to_bytes(4, "big", signed=True) + none * 4 + wide
    at = content.index(upright, content.index(b"tkhd"))
    path = tmp_path / "turned.mp4"
    path.write_bytes(content[:at] + turned + content[at + 36 :])
    (item,) = clips(open_files(path, "train"))
    np.testing.assert_array_equal(pixels(item), np.rot90(pixels(flat), -1, (1, 2)))


@needs_ffmpeg
@pytest.mark.slow
@pytest.mark.parametrize("ending", ["mp4", "avi", "mkv", "webm"])
def test_videos_cut_short(tmp_path: Path, ending: str) -> None:
    words = ("-movflags", "+faststart") if ending == "mp4" else ()
    path = encoded(tmp_path / f"a.{ending}", smooth(), *words)
    content = path.read_bytes()
    source = open_files(path, "train")
    assert len(clips(source)[0].frames) == 12
    for length in range(0, len(content), len(content) // 20):
        path.write_bytes(content[:length])
        assert reason(source), length


@needs_ffmpeg
@pytest.mark.slow
def test_a_playlist_in_a_videos_name_opens_nothing(tmp_path: Path) -> None:
    inner = encoded(tmp_path / "secret.mkv", clip(1), *LOSSLESS, "-pix_fmt", "bgr0")
    folder = tmp_path / "set"
    folder.mkdir()
    shutil.copy(inner, folder / "inner.bin")
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{inner}\n#EXT-X-ENDLIST\n"
    (folder / "0.mp4").write_text(playlist)
    (folder / "1.mkv").write_text("ffconcat version 1.0\nfile inner.bin\n")
    (folder / "2.webm").write_bytes(b"")
    (folder / "3.avi").write_text("no video\n" * 99)
    source = open_files(folder, "train")
    for number in range(4):
        assert "damaged, or no video" in reason(source, number)


@needs_ffmpeg
@pytest.mark.slow
def test_a_video_that_changes_its_size(tmp_path: Path) -> None:
    parts = [
        encoded(tmp_path / f"{n}.mpg", smooth(6, 48, 64 + 32 * n), "-f", "mpeg1video", fps="25")
        for n in range(2)
    ]
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a.mpg").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert "mixed sizes" in reason(open_files(folder, "train"))


@needs_ffmpeg
@pytest.mark.slow
def test_damaged_videos_are_bad_frames(tmp_path: Path) -> None:
    path = encoded(tmp_path / "a.mp4", smooth(6))
    whole = path.read_bytes()
    found = Counter[str]()
    for way, mutate in WAYS.items():
        for seed in range(3):
            draw = np.random.default_rng([zlib.crc32(way.encode()), seed])
            path.write_bytes(mutate(whole, draw))
            found[outcome(lambda: open_files(path, "train"))] += 1
    assert found["bad frames"] >= 15
