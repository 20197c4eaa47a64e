"""Clips of files: each kind against what was written, and every bad input in one line."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from distgan.data.clips.base import ClipItem, ClipSource
from distgan.data.clips.files import open_files
from distgan.data.clips.frames import natural, open_frames
from distgan.data.clips.reel import Reel
from distgan.data.decoder import BadImageError
from distgan.data.sources.base import Unreadable
from distgan.data.sources.folder import FolderSource
from distgan.data.transform import Transform
from distgan.errors import UserError

Clip = NDArray[np.uint8]


def clip(seed: int, frames: int = 5, height: int = 12, width: int = 16, channels: int = 3) -> Clip:
    """A picture of 6 colours that moves, uint8 (frames, height, width, channels)."""
    draw = np.random.default_rng(seed)
    colours = draw.integers(0, 256, (6, channels), np.uint8)
    still = colours[draw.integers(0, 6, (height // 2, width // 2)).repeat(2, 0).repeat(2, 1)]
    return np.stack([np.roll(still, n, 1) for n in range(frames)])


def pictures(frames: Clip) -> list[Image.Image]:
    return [Image.fromarray(f[..., 0] if f.shape[2] == 1 else f) for f in frames]


def animate(path: Path, frames: Clip, duration: Any = 80, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = pictures(frames)
    kind = "PNG" if path.suffix in (".png", ".apng") else path.suffix[1:].upper()
    how = {"lossless": True} | how if kind == "WEBP" else how
    first.save(path, kind, save_all=True, append_images=rest, duration=duration, **how)
    return path


def write_frames(folder: Path, frames: Clip, name: str = "{}.png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures(frames)):
        picture.save(folder / name.format(number))
    return folder


def clips(source: ClipSource) -> list[ClipItem]:
    return list(source.read(np.arange(source.count)))


def pixels(item: ClipItem) -> Clip:
    return np.stack([Transform().pixels(frame) for frame in item.frames])


def reason(source: ClipSource, number: int = 0) -> str:
    """Why a clip cannot be read."""
    (item,) = source.read(np.array([number]))
    (frame,) = item.frames
    assert isinstance(frame, Unreadable), frame
    assert frame.reason.isprintable()
    return frame.reason


def refused(opener: Callable[..., ClipSource], *args: Any) -> str:
    with pytest.raises(UserError) as caught:
        opener(*args)
    said = str(caught.value)
    assert said.isprintable(), said
    return said


# --- folders of frames


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    wanted = {f"clip{n}": clip(n, 12) for n in (1, 2, 10)}
    for name, frames in wanted.items():
        write_frames(tmp_path / name, frames, "frame {}.png")
    source = open_frames(tmp_path, "train")
    found = clips(source)
    assert [item.where for item in found] == [f"{tmp_path}/clip{n}" for n in (1, 2, 10)]
    assert source.classes == ()
    assert source.notes == ()
    for item, frames in zip(found, wanted.values(), strict=True):
        assert item.label is None
        assert item.fps is None
        np.testing.assert_array_equal(pixels(item), frames)
        np.testing.assert_array_equal(
            Transform().pixels(item.frames[-2]), Transform().pixels(item.frames[3:11][-1])
        )


def test_natural_order() -> None:
    names = ["b", "a10b2", "a9b10", "a9b9", "a", "a010", "9", "10", "\u0663", "a" + "7" * 9000]
    wanted = ["9", "10", "a", "a9b9", "a9b10", "a010", "a10b2", names[-1], "b", "\u0663"]
    assert sorted(names, key=natural) == wanted


def test_class_folders_of_clips(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for number, (kind, name) in enumerate([("run", "x"), ("run", "y"), ("walk", "x")]):
            write_frames(tmp_path / split / kind / name, clip(number + 10 * (split == "test")))
    (tmp_path / "train" / "run" / "x" / "sound.wav").write_bytes(b"-")
    source = open_frames(tmp_path, "test")
    assert source.classes == ("run", "walk")
    assert [item.label for item in clips(source)] == [0, 0, 1]
    for number, item in enumerate(clips(pickle.loads(pickle.dumps(source)))):
        np.testing.assert_array_equal(pixels(item), clip(number + 10))
    assert any(note.startswith("left alone: 1 files that are no im") for note in source.notes)


def test_a_zip_of_frames_is_as_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for number in range(3):
        write_frames(folder / f"kind{number % 2}" / f"clip{number}", clip(number))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder))
    here, packed = open_frames(folder, "train"), open_frames(tmp_path / "set.zip", "train")
    assert here.classes == packed.classes == ("kind0", "kind1")
    for one, other in zip(clips(here), clips(packed), strict=True):
        assert one.label == other.label
        np.testing.assert_array_equal(pixels(one), pixels(other))


def test_only_frames_that_are_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frames(tmp_path / "a", clip(1, 9))
    write_frames(tmp_path / "b", clip(2, 9))
    source = open_frames(tmp_path, "train")
    read: list[int] = []
    before = FolderSource.read

    def counted(self: FolderSource, numbers: NDArray[np.int64]) -> Any:
        read.extend(numbers.tolist())
        return before(self, numbers)

    monkeypatch.setattr(FolderSource, "read", counted)
    (item,) = source.read(np.array([1]))
    assert len(item.frames) == 9
    assert read == []
    np.testing.assert_array_equal(Transform().pixels(item.frames[4]), clip(2, 9)[4])
    # The first one too, for the size.
    assert read == [13, 9] or read == [9, 13]


def test_unusual_layouts_of_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "one", clip(1))
    source = open_frames(tmp_path / "one", "train")
    assert source.count == 1
    assert source.notes[0].startswith("read as one clip")
    for name in ("a", "b"):
        write_frames(tmp_path / "deep" / name / "img", clip(2))
    source = open_frames(tmp_path / "deep", "train")
    assert (source.count, source.classes) == (2, ())
    assert "folders with one folder of the same name in each, img/" in source.notes[0]
    write_frames(tmp_path / "gap" / "a", clip(1))
    write_frames(tmp_path / "gap" / "b", clip(1))
    (tmp_path / "gap" / "b" / "2.png").unlink()
    (note,) = open_frames(tmp_path / "gap", "train").notes
    assert note.startswith("1 clips whose frames are not numbered evenly")
    assert note.endswith("such as b/")


def test_bad_folders_of_frames(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(open_frames, tmp_path / "empty", "train")
    assert "no clips here; looked for a folder or zip with a folder of images" in said
    write_frames(tmp_path / "nested" / "a", clip(1))
    write_frames(tmp_path / "nested" / "a" / "b", clip(1))
    assert "a folder without others in it" in refused(open_frames, tmp_path / "nested", "train")
    write_frames(tmp_path / "mixed" / "a", clip(1))
    write_frames(tmp_path / "mixed" / "b" / "c", clip(1))
    assert "both beside and inside" in refused(open_frames, tmp_path / "mixed", "train")
    write_frames(tmp_path / "good" / "a", clip(1))
    write_frames(tmp_path / "good" / "b", clip(1))
    assert "has no split test" in refused(open_frames, tmp_path / "good", "test")
    (tmp_path / "file.txt").write_text("-")
    assert "not a folder or zip" in refused(open_frames, tmp_path / "file.txt", "train")
    os.mkfifo(tmp_path / "pipe.zip")
    assert "not a folder or zip" in refused(open_frames, tmp_path / "pipe.zip", "train")


def test_bad_frames_are_unreadable(tmp_path: Path) -> None:
    write_frames(tmp_path / "a", clip(1))
    write_frames(tmp_path / "b", clip(2, height=20))
    (tmp_path / "a" / "1.png").unlink()
    (tmp_path / "a" / "1.png").symlink_to("nowhere")
    (tmp_path / "a" / "2.png").write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "3.png")
    os.mkfifo(tmp_path / "a" / "5.png")
    bad, good = clips(open_frames(tmp_path, "train"))
    said = [f.reason if isinstance(f, Unreadable) else "" for f in bad.frames]
    assert said[0] == said[4] == ""
    assert said[1] == "1.png cannot be read (No such file or directory)"
    assert said[2].startswith("2.png: not an image")
    assert said[3] == "3.png is 8x8, but the first frame of the clip is 12x16: mixed sizes"
    assert said[5].startswith("5.png cannot be read (not a regular file")
    np.testing.assert_array_equal(pixels(good), clip(2, height=20))


# --- animations


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "apng"])
@pytest.mark.parametrize("channels", [1, 3])
def test_animations_against_what_was_written(tmp_path: Path, ending: str, channels: int) -> None:
    wanted = [clip(n, 4 + n, channels=channels) for n in range(3)]
    for number, frames in enumerate(wanted):
        animate(tmp_path / f"{number}.{ending}", frames, [40, 50, 40, 40, *[40] * number])
    source = open_files(tmp_path, "train")
    for item, frames in zip(clips(source), wanted, strict=True):
        assert item.fps == pytest.approx(25)
        found = pixels(item)
        # WebP has no gray, and a GIF of few gray colours names them as it does any.
        assert found.shape[3] == (channels if "png" in ending else 3)
        np.testing.assert_array_equal(found, np.broadcast_to(frames, found.shape))


def test_a_gif_of_all_grays_is_gray(tmp_path: Path) -> None:
    frames = np.stack([np.roll(np.arange(256, dtype=np.uint8), 7 * n) for n in range(5)])
    frames = frames.reshape(5, 16, 16, 1)
    animate(tmp_path / "a.gif", frames)
    mixed = frames.repeat(3, 3)
    mixed[3, 4:, 5, 1] = 9
    first, *rest = Image.fromarray(frames[0, ..., 0]), *pictures(mixed)[1:]
    first.save(tmp_path / "b.gif", save_all=True, append_images=rest)
    gray, colour = clips(open_files(tmp_path, "train"))
    np.testing.assert_array_equal(pixels(gray), frames)
    assert pixels(colour).shape == (5, 16, 16, 3)
    np.testing.assert_array_equal(pixels(colour)[0], mixed[0])


def test_class_folders_of_animations(tmp_path: Path) -> None:
    for number, name in enumerate(["cat/10.gif", "cat/9.webp", "dog/1.apng"]):
        animate(tmp_path / "train" / name, clip(number))
        animate(tmp_path / "test" / name, clip(number + 10))
    (tmp_path / "train" / "notes.txt").write_text("-")
    source = open_files(tmp_path, "test")
    assert source.classes == ("cat", "dog")
    found = clips(pickle.loads(pickle.dumps(source)))
    assert [item.label for item in found] == [0, 0, 1]
    assert [item.where[len(str(tmp_path)) :] for item in found] == [
        "/test/cat/9.webp",
        "/test/cat/10.gif",
        "/test/dog/1.apng",
    ]
    for item, number in zip(found, (11, 10, 12), strict=True):
        np.testing.assert_array_equal(pixels(item), clip(number))
    assert source.notes == (
        "left alone: 1 files that are no videos or animations (1 .txt), such as train/notes.txt",
    )


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_transparent_parts_become_white(tmp_path: Path, ending: str) -> None:
    frames = clip(3, channels=4)
    frames[..., 3] = np.where(frames[..., 3] > 127, 255, 0 if ending == "gif" else 100)
    animate(tmp_path / f"a.{ending}", frames, disposal=2 if ending == "gif" else 1)
    if ending == "webp":
        animate(tmp_path / "a.webp", frames, exact=True)
    (item,) = clips(open_files(tmp_path, "train"))
    alpha = frames[..., 3:] / 255
    wanted = frames[..., :3] * alpha + 255 * (1 - alpha)
    if ending == "png":
        # Each frame lies upon the one before it, so only the first is known without that.
        np.testing.assert_allclose(pixels(item)[0], wanted[0], atol=1)
    else:
        np.testing.assert_allclose(pixels(item), wanted, atol=1)


def test_a_picture_before_an_apng_is_no_frame(tmp_path: Path) -> None:
    still, frames = Image.new("RGB", (16, 12), "red"), clip(4)
    still.save(
        tmp_path / "a.png", save_all=True, append_images=pictures(frames), default_image=True
    )
    (item,) = clips(open_files(tmp_path / "a.png", "train"))
    np.testing.assert_array_equal(pixels(item), frames)
    assert item.fps is None


def test_a_still_picture_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.webp")
    (item,) = clips(open_files(tmp_path, "train"))
    assert len(item.frames) == 1
    assert isinstance(item.frames[0], np.ndarray)


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_animations_cut_short_are_unreadable(tmp_path: Path, ending: str) -> None:
    content = animate(tmp_path / f"a.{ending}", clip(5)).read_bytes()
    source = open_files(tmp_path, "train")
    for length in range(0, len(content), 7):
        (tmp_path / f"a.{ending}").write_bytes(content[:length])
        assert re.search("cut short|not an image|empty|damaged at frame", reason(source)), length
    (tmp_path / f"a.{ending}").write_bytes(content)
    np.testing.assert_array_equal(pixels(clips(source)[0]), clip(5))


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = refused(open_files, tmp_path / "empty", "train")
    assert "no clips here; looked for a folder of videos" in said
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "a.txt").write_text("-")
    assert "left alone: 1 files" in refused(open_files, tmp_path / "others", "train")
    folder = tmp_path / "set"
    animate(folder / "0.gif", clip(0))
    pictures(clip(0))[0].save(folder / "1.gif", "JPEG")
    (folder / "2.gif").symlink_to("nowhere")
    os.mkfifo(folder / "3.gif")
    animate(folder / "4.gif", clip(4))
    source = open_files(folder, "train")
    assert reason(source, 1).startswith("a JPEG in truth")
    assert "No such file" in reason(source, 2)
    assert "not a regular file" in reason(source, 3)
    np.testing.assert_array_equal(pixels(clips(source)[4]), clip(4))
    animate(folder / "kind" / "5.gif", clip(0))
    assert "clips both beside and inside" in refused(open_files, folder, "train")
    assert "is one split, train" in refused(open_files, folder / "0.gif", "test")
    assert "nor one of these files" in refused(open_files, tmp_path / "others" / "a.txt", "train")


# --- frames that are decoded one after another


def test_a_long_reel_is_played_again() -> None:
    frames, plays = clip(6, 40), Counter[str]()

    def play() -> Iterator[Clip]:
        plays["began"] += 1
        try:
            yield from frames
        finally:
            plays["ended"] += 1

    reel = Reel(play, held_bytes=10 * frames[0].nbytes)
    assert len(reel) == 40
    assert plays == {"began": 1, "ended": 1}
    np.testing.assert_array_equal(np.stack([np.asarray(f) for f in reel]), frames)
    assert plays["began"] == 2
    for number in (3, 12, 39, 39, 5, 20, -1, 10):
        np.testing.assert_array_equal(np.asarray(reel[number]), frames[number])
    # Back from 39 (twice to the same, and to 20), and from the end to 10.
    assert plays["began"] <= 6
    reel.close()
    assert plays["began"] == plays["ended"]


def test_a_reel_that_changes_or_mixes() -> None:
    lengths = iter((6, 4))
    reel = Reel(lambda: iter(clip(1, next(lengths))), held_bytes=0)
    last = reel[5]
    assert isinstance(last, Unreadable)
    assert "the file has changed" in last.reason
    mixed = [*clip(1), *clip(1, height=14)]
    with pytest.raises(BadImageError, match="frame 5 is 14x16x3, but the first is 12x16x3"):
        Reel(lambda: iter(mixed))
    with pytest.raises(BadImageError, match="holds no frame"):
        Reel(lambda: iter(()))
