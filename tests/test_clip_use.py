"""What people do with a trained model of clips: samples of any length and rate, films, strips."""

from __future__ import annotations

import io
import itertools
import math
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from distgan.cli import main
from distgan.errors import UserError
from distgan.families.clip_family import strips
from distgan.runs import animation, film, samples
from distgan.runs.clips import LoadedClips
from distgan.runs.export import load_generator
from distgan.runs.grid import grid, to_uint8

from . import toy_clips
from .toy_clips import data_of, write_run


@pytest.fixture(scope="module", autouse=True)
def _families() -> Iterator[None]:
    with toy_clips.registered():
        yield


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Clips of 6 frames, every second of the data's: 5 a second."""
    folder = tmp_path_factory.mktemp("clips") / "one"
    return write_run(folder, **{"clip.frames": 6, "clip.stride": 2})


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("clips") / "classes"
    return write_run(folder, data=data_of(classes=("a", "b", "c")), **{"clip.frames": 4})


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the family that makes frames at any times; in colours."""
    folder = tmp_path_factory.mktemp("clips") / "times"
    return write_run(folder, "toy-times", data_of(channels=3), **{"clip.frames": 6})


def loaded(run: str) -> LoadedClips:
    found = load_generator(run)
    assert isinstance(found, LoadedClips)
    return found


def played(content: bytes, fps: float, count: int) -> NDArray[np.uint8]:
    """The frames of a film, (count, h, w, 3); encoders show a frame that repeats longer, once.

    The times at which frames end are those of the rate, rounded to what the format counts in.
    """
    picture = Image.open(io.BytesIO(content))
    assert picture.info["loop"] == 0
    unit = 10 if picture.format == "GIF" else 1
    ends = [round((number + 1) * 1000 / fps / unit) * unit for number in range(count)]
    frames: list[Any] = []
    now = 0.0
    for number in range(picture.n_frames):
        picture.seek(number)
        # Only after the pixels are there WebP says how long they stay.
        pixels = np.asarray(picture.convert("RGB"))
        now += picture.info["duration"]
        while len(frames) < count and ends[len(frames)] <= now:
            frames.append(pixels)
        assert now in ends
    assert now == ends[-1]
    return np.stack(frames)


def mistake(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["sample", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


# The model.


def test_a_clip_is_the_same_bits_beside_any_others(one: str, times: str) -> None:
    for run in (one, times):
        model = loaded(run)
        many = model.sample(150, seed=4)
        assert many.shape == (150, 6, *model.image)
        assert (many.dtype, bool(many.abs().max() <= 1)) == (torch.float32, True)
        for few in (1, 63, 64, 65):
            assert torch.equal(model.sample(few, seed=4), many[:few])
        assert torch.equal(model.sample(range(70, 73), seed=4), many[70:73])
        assert torch.equal(model.sample_seeds([9, 4])[1], many[0])
        assert not torch.equal(model.sample(1, seed=5), many[:1])


def test_a_longer_clip_begins_like_a_shorter_one(one: str, times: str) -> None:
    for run in (one, times):
        model = loaded(run)
        short, long = model.sample(3), model.sample(3, frames=40)
        assert long.shape[1] == 40
        torch.testing.assert_close(long[:, :6], short)
        # And goes on: no frame is one that was there.
        differences = (long[:, 6:, None] - long[:, None, :6]).abs().amax((-3, -2, -1))
        assert differences.min() > 0


def test_a_rate_sets_the_times(times: str) -> None:
    """The toy's frames are tanh(W [content, sin(t (1 + content_0 / 10))] + b), t in the data's
    frames, of which there are ten a second."""
    model = loaded(times)
    content = model.latents(3, 7)["content"].double()
    linear: Any = model.network[0]  # type: ignore[index]
    for fps in (10.0, 25.0, 4.0):
        made = model.sample(3, frames=8, fps=fps, seed=7)
        seconds = torch.arange(8, dtype=torch.float64) / fps
        wave = (10 * seconds * (1 + 0.1 * content[:, :1])).sin()
        rows = torch.cat([content[:, None].expand(-1, 8, -1), wave[..., None]], 2)
        wanted = (rows @ linear.weight.double().T + linear.bias.double()).tanh()
        torch.testing.assert_close(made.flatten(2).double(), wanted, atol=1e-5, rtol=0)
    assert model.at(fps=25).fps == 25
    # What `at` set stays.
    assert torch.equal(model.at(fps=25).sample(2, frames=5), model.sample(2, frames=5, fps=25))


def test_a_model_of_one_rate_refuses_others(one: str) -> None:
    model = loaded(one)
    assert (model.fps, model.any_rate) == (5, False)
    assert torch.equal(model.sample(2, fps=5), model.sample(2))
    with pytest.raises(UserError, match=r"--fps 12: this model makes 5 frames a second and no"):
        model.sample(2, fps=12)
    for frames in (-1, 10**6):
        with pytest.raises(UserError, match=f"--frames {frames}: should be 1 to 100,000"):
            model.sample(1, frames=frames)
    for fps in (-1.0, math.nan, math.inf, 1e9):
        with pytest.raises(UserError, match=r"--fps .*: should be 0.01 to 100,000"):
            model.sample(1, fps=fps)


def test_labels_take_turns(classes: str) -> None:
    model = loaded(classes)
    turns = model.sample(6)
    assert torch.equal(turns[4], model.sample(5, label="b")[4])
    assert not torch.equal(turns[4], model.sample(5, label="c")[4])


def test_truncation_reaches_all_draws(one: str) -> None:
    found = loaded(one).latents(50, truncation=0.5)
    assert set(found) == {"content", *(f"motion-{step}" for step in range(6))}
    assert max(float(each.abs().max()) for each in found.values()) <= 0.5


# Films.


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fps", [5, 12, 29.97])
@pytest.mark.parametrize("kind", ["webp", "gif", "png"])
def test_what_was_written_is_what_plays(kind: str, fps: float, channels: int) -> None:
    draw = np.random.default_rng(0)
    # Coloured ones are of 64 colours: then a GIF loses none.
    palette = draw.integers(0, 4, (64, 3)) * 85
    clips = draw.integers(0, 64, (3, 13, 9, 11))
    if channels == 3:
        pixels = palette[clips].astype(np.uint8)
    else:
        pixels = (clips * 4).astype(np.uint8)[..., None]
    pixels[:, 7] = pixels[:, 6]
    frames = animation.side_by_side(pixels, 2, smallest=70)
    found = played(film.encode(frames, kind, fps, quality=100), fps, 13)
    # Two beside each other and one below, a grey line between them, each pixel three by three.
    sheet = np.zeros((13, 19, 23, 3), np.uint8)
    sheet[:, 9] = sheet[:, :, 11] = 96
    for (top, left), clip in zip(itertools.product((0, 10), (0, 12)), pixels, strict=False):
        sheet[:, top : top + 9, left : left + 11] = clip
    sheet[:, 10:, 12:] = 96
    np.testing.assert_array_equal(found, sheet.repeat(3, 1).repeat(3, 2))


def blocks_of_gif(content: bytes) -> tuple[int, int]:
    """How many frames a GIF89a has, and how many of them a palette of their own."""
    place, frames, own = 13, 0, 0
    assert content[10] & 128, "no global palette"
    place += 3 << (content[10] & 7) + 1
    while content[place] != 0x3B:
        if content[place] == 0x2C:
            flags = content[place + 9]
            frames, own = frames + 1, own + (flags >> 7)
            place += 11 + (3 << (flags & 7) + 1 if flags & 128 else 0)
        else:
            assert content[place] == 0x21
            place += 2
        while content[place]:
            place += content[place] + 1
        place += 1
    return frames, own


def test_a_gif_has_one_palette_for_all_frames() -> None:
    draw = np.random.default_rng(0)
    greys = draw.integers(0, 256, (7, 30, 40), dtype=np.uint8)
    content = film.encode(map(Image.fromarray, greys), "gif", 10)
    assert blocks_of_gif(content) == (7, 0)
    found = played(content, 10, 7)
    np.testing.assert_array_equal(found, greys[..., None].repeat(3, 3))
    # More colours than there is room for: what stands still does not flicker.
    colours = draw.integers(0, 256, (7, 30, 40, 3), dtype=np.uint8)
    colours[:, :15] = colours[0, :15]
    content = film.encode(map(Image.fromarray, colours), "gif", 10)
    assert blocks_of_gif(content) == (7, 0)
    found = played(content, 10, 7)
    assert (found[:, :15] == found[0, :15]).all()
    assert np.abs(found.astype(int) - colours).mean() < 25


def test_a_small_animation_keeps_its_size_by_fewer_clips_and_then_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (10, 8, 32, 32, 3), dtype=np.uint8)
    whole = animation.small(clips, 7.5)
    assert animation.extent(whole) == animation.Extent(10, 10, 8, 8, 7.5)
    assert Image.open(io.BytesIO(whole)).size == (5 * 33 - 1, 2 * 33 - 1)
    found = []
    for most in (len(whole) - 1, len(whole) // 3, len(whole) // 20, 100):
        monkeypatch.setattr(animation, "MOST_BYTES", most)
        content = animation.small(clips, 7.5)
        extent = animation.extent(content)
        assert extent is not None
        assert len(content) <= most or (extent.clips, extent.frames) == (1, 1)
        assert extent.frames == 8 or extent.clips == 1
        if extent.frames > 1:
            played(content, 7.5, extent.frames)
        found.append((extent.clips, extent.frames))
    assert found == sorted(found, reverse=True)
    assert 5 <= found[0][0] < 10
    assert 1 < found[1][0] < 5
    assert 1 < found[2][1] < 8
    # What would take long to encode is not even tried.
    monkeypatch.undo()
    large = np.zeros((10, 16, 256, 256, 1), np.uint8)
    assert str(animation.extent(animation.small(large, 25))).startswith("4 of 10 clips, 16 of 16")


@pytest.mark.parametrize("content", [b"", b"RIFF....WEBPVP8 ", b"GIF89a"])
def test_other_files_say_nothing_of_themselves(content: bytes) -> None:
    assert animation.extent(content) is None


# The command.


@pytest.mark.parametrize("kind", ["webp", "gif", "png"])
def test_clips_play(one: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--frames", "9", "--num", "4", "--seed", "3", "--out", f"x.{kind}"]
    assert main(["sample", one, *words]) == 0
    said = capsys.readouterr().out
    assert f"4 clips of 9 frames, 5 a second (1.8 s), after 640 training clips: x.{kind}" in said
    assert said.count("\n") == 1
    found = played(Path(f"x.{kind}").read_bytes(), 5, 9)
    clips = to_uint8(loaded(one).sample(4, frames=9, seed=3))
    for number in range(9):
        wanted = grid(clips[:, number], 2).convert("RGB")
        np.testing.assert_array_equal(found[number], np.asarray(wanted))
    assert not Path("one-strips.png").exists()


def test_clips_play_and_stand_as_strips(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", one]) == 0
    said = capsys.readouterr().out
    assert "9 clips of 6 frames, 5 a second (1.2 s), after 640 training clips: one-samples" in said
    assert "film strips of 9 clips, 6 frames each, after 640 training clips: one-strips.png" in said
    clips = loaded(one).sample(9)
    assert played(Path("one-samples.webp").read_bytes(), 5, 6).shape[1:] == (550, 550, 3)
    wanted = grid(to_uint8(clips.flatten(0, 1)), 6)
    np.testing.assert_array_equal(np.asarray(Image.open("one-strips.png")), np.asarray(wanted))
    assert main(["sample", one, "--strips", "y.png", "--frames", "31", "--num", "2"]) == 0
    assert "film strips of 2 clips, 16 of 31 frames each" in capsys.readouterr().out
    # Every second one, the first and the last with them.
    wanted = grid(to_uint8(loaded(one).sample(2, frames=31)[:, ::2].flatten(0, 1)), 16)
    np.testing.assert_array_equal(np.asarray(Image.open("y.png")), np.asarray(wanted))
    assert not Path("one-samples.png").exists()


def test_a_rate_of_its_own_is_said(
    one: str, times: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--num", "1", "--frames", "8", "--fps", "20"]
    assert main(["sample", one, *words, "--out", "x.png"]) == 0
    said = capsys.readouterr().out
    assert "this model makes 5 frames a second, so 20 a second play 4 times as fast" in said
    own = played(Path("x.png").read_bytes(), 20, 8)
    wanted = to_uint8(loaded(one).sample(1, frames=8))[0, :, :, :, [0, 0, 0]]
    np.testing.assert_array_equal(own[:, ::35, ::35], np.moveaxis(wanted, 0, -1))
    assert main(["sample", times, *words, "--out", "y.png"]) == 0
    assert "this model" not in capsys.readouterr().out
    found = played(Path("y.png").read_bytes(), 20, 8)
    fine = to_uint8(loaded(times).sample(1, frames=8, fps=20))[0]
    np.testing.assert_array_equal(found[:, ::35, ::35], fine)
    assert main(["sample", times, "--num", "1", "--seconds", "0.5", "--fps", "30"]) == 0
    assert "1 clip of 15 frames, 30 a second (0.5 s)" in capsys.readouterr().out


def test_names_of_labels_stand_above(classes: str) -> None:
    assert main(["sample", classes, "--out", "x.png"]) == 0
    found = Image.open("x.png")
    clips = to_uint8(loaded(classes).sample(6))
    wanted = grid(clips[:, 0], 3, ["a", "b", "c"])
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
    assert main(["sample", classes, "--label", "c", "--seeds", "3,5", "--out", "y.png"]) == 0
    mine = to_uint8(loaded(classes).sample_seeds([3, 5], label="c"))
    wanted = grid(mine[:, 0], 2, ["c"])
    np.testing.assert_array_equal(np.asarray(Image.open("y.png")), np.asarray(wanted))


def test_a_file_for_every_clip_and_an_array(classes: str, capsys: Any) -> None:
    assert main(["sample", classes, "--num", "5", "--frames", "7", "--each", "clips"]) == 0
    names = sorted(path.name for path in Path("clips").iterdir())
    assert names == [f"{n:06d}-{'abcab'[n]}.webp" for n in range(5)]
    wanted = to_uint8(loaded(classes).sample(5, frames=7))
    for number, name in enumerate(names):
        found = played(Path("clips", name).read_bytes(), 10, 7)
        np.testing.assert_array_equal(found, wanted[number].repeat(3, 3))
    assert main(["sample", classes, "--num", "5", "--frames", "7", "--npz", "a.npz"]) == 0
    with np.load("a.npz") as saved:
        np.testing.assert_array_equal(saved["arr_0"], wanted)
        assert saved["arr_1"].tolist() == [0, 1, 2, 0, 1]
    assert "5 clips after 640 training clips: a.npz" in capsys.readouterr().out


def test_mp4_goes_through_ffmpeg(
    one: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = mistake(capsys, one, "--out", "a.mp4")
    assert "the program ffmpeg, which is not on the PATH; install it, or name a .webp" in said
    # A program that keeps what it is given.
    program = tmp_path / "ffmpeg"
    program.write_text('#!/bin/bash\nfor last; do :; done; echo "$@" > called; cat > "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert main(["sample", one, "--num", "1", "--fps", "12.5", "--out", "a.mp4"]) == 0
    assert "-r 12.5 " in Path("called").read_text()
    found = np.frombuffer(Path("a.mp4").read_bytes(), np.uint8).reshape(6, 560, 560, 3)
    wanted = to_uint8(loaded(one).sample(1))[0]
    np.testing.assert_array_equal(found[:, ::35, ::35], wanted.repeat(3, 3))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg here to read films with")
def test_an_mp4_is_what_ffmpeg_reads(one: str) -> None:
    assert main(["sample", one, "--num", "1", "--frames", "9", "--out", "a.mp4"]) == 0
    words = ["-loglevel", "error", "-i", "a.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(["ffmpeg", *words], check=True, capture_output=True, timeout=60).stdout
    found = np.frombuffer(raw, np.uint8).reshape(9, 560, 560, 3)
    wanted = to_uint8(loaded(one).sample(1, frames=9))[0].repeat(3, 3)
    # In the middle of every enlarged pixel, where compression changes little.
    assert np.abs(found[:, 17::35, 17::35].astype(int) - wanted).mean() < 4


def test_what_does_not_go_together(one: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        "--film walk": "--film walk: is for models of images",
        "--film training --frames 3": "--frames: is for a model that makes clips",
        "--frames 3 --seconds 2": "--seconds: --frames says how long clips are",
        "--frames 0": "--frames 0: should be",
        "--frames 200000": "--frames 200000: should be 1 to 100,000",
        "--quality 80 --out x.gif": "--quality 80: is for a .webp",
        "--quality 101": "--quality 101: should be",
        "--each x --strips y.png": "--strips: not together with --each",
        "--strips y.gif": "--strips y.gif: its name should end in .png",
        "--out x.jpg": "--out x.jpg: a film is a .webp",
        "--fps 60 --out x.gif": "--fps 60: should be 0.01 to 50 for a GIF",
        "--fps 500 --each x": "--fps 500: should be 0.01 to 240",
        "--fps 7 --strips x.png": "--fps 7: this model makes 5 frames a second and no others, and",
        "--fps 7 --npz x.npz": "--fps 7: this model makes 5 frames a second and no others, and",
        "--fps 0": "--fps 0: should be a number above 0",
        "--num 3 --seeds 1,2": "--num 3: --seeds says how many",
        "--frames 90000 --num 1k": "--frames 90,000: 1,000 clips of so many would be",
        "--num 1m --frames 2 --strips x.png": "--num 1000000: would be a picture of 34 x 17,00",
        "--label a": "--label 'a': this generator takes no labels",
    }
    for words, said in wrong.items():
        assert said in mistake(capsys, one, *words.split()), words
    assert list(Path().iterdir()) == []


def test_a_model_of_images_has_no_use_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from .written_runs import write_run as write_images

    run = str(write_images(tmp_path / "images", 1, 1))
    for option, value in {"--frames": "3", "--strips": "x.png", "--quality": "9"}.items():
        assert f"{option}: is for a model that makes clips" in mistake(capsys, run, option, value)


# While it trains.


def test_sheets_are_strips_and_the_same_clips_play(classes: str) -> None:
    model = loaded(classes)
    sheet = samples.sample_sheet(model.family, model.networks, 640)
    clips = model.clip_family.clips(model.networks, 640, "sheet", range(10))
    wanted = grid(to_uint8(strips(clips)[0]), 4)
    picture = Image.open(io.BytesIO(sheet.picture))
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(wanted))
    assert animation.extent(sheet.animation) == animation.Extent(10, 10, 4, 4, 10)
    found = played(sheet.animation, 10, 4).astype(int)
    for frame in range(4):
        playing = grid(to_uint8(clips[:, frame]), 5, smallest=1).convert("RGB")
        assert np.abs(found[frame] - np.asarray(playing)).mean() < 12


def test_a_film_of_the_training_is_one_of_strips(one: str) -> None:
    assert main(["sample", one, "--film", "training", "--fps", "2", "--out", "t.png"]) == 0
    picture = Image.open("t.png")
    assert picture.n_frames == 2
    still = np.asarray(Image.open(Path(one, "samples", "images-000000000000.png")))
    np.testing.assert_array_equal(np.asarray(picture)[: len(still)], still)
