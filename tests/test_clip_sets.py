"""Sets of clips: what `distgan data prepare` writes of clips, and what is read of it again."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distgan import draws
from distgan.cli.main import main
from distgan.config.clip import Clips
from distgan.data import manifest, raw
from distgan.data import prepare as preparing
from distgan.data.clips import open as clip_sources
from distgan.data.clips.lengths import Lengths
from distgan.data.decoder import BadImageError
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.prepare_settings import PrepareSettings
from distgan.errors import UserError
from distgan.families import DataSpec
from distgan.launch.prepare import prepare
from distgan.launch.ready import ready_clips
from distgan.storage.storage import Storage
from tests.clips_in_memory import LENGTHS, Memory, clips_in, made, png


@pytest.mark.parametrize("store", ["raw", "png", "original"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_set_holds_all_frames_of_all_clips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, channels: int
) -> None:
    source = Memory(shape=(6, 4, channels), encoded=store == "original")
    known = made(monkeypatch, tmp_path / "set", source, store=store)
    found = clips_in(tmp_path / "set")
    assert [len(clip) for clip in found] == list(LENGTHS)
    for number, clip in enumerate(found):
        assert np.array_equal(clip, source.clip(number))
    assert known.clips == (2, 12, 39, 10.0)
    assert known.class_counts == (4, 3)
    whole = np.concatenate([source.clip(n) for n in range(source.count)])
    assert known.mean == pytest.approx(whole.mean((0, 1, 2)) / 255, abs=1e-6)
    images = open_images(str(tmp_path / "set"))
    assert images.clips == known.clips
    assert images.shape == (channels, 6, 4)
    assert (images.count, images.classes, images.encoded) == (7, ("even", "odd"), store != "raw")
    assert manifest.read(Storage(str(tmp_path / "set"))) == known


def test_original_frames_keep_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Memory(encoded=True)
    made(monkeypatch, tmp_path / "set", source, store="original")
    stored = pq.read_table(tmp_path / "set" / "train.parquet")["frames"].to_pylist()
    assert stored == [[png(frame) for frame in source.clip(n)] for n in range(source.count)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


LARGE = {"lengths": tuple(2 + 37 * n % 90 for n in range(60)), "shape": (64, 64, 3)}
"""Clips of 24 kB to 1.1 MB, in several row groups and shards."""


def test_tasks_in_other_processes_and_order_make_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, options = Memory(**LARGE), PrepareSettings(shard_size=7, validation=9, cut=40, frames=5)
    monkeypatch.setitem(clip_sources.MADE, "memory-clips", lambda *given: source)

    def backwards(jobs: Any, work: Any) -> Any:
        for number in reversed(range(len(jobs))):
            job, sent = pickle.loads(pickle.dumps((jobs[number], work)))
            yield number, pickle.loads(pickle.dumps(sent.make(job)))

    prepare("memory-clips", str(tmp_path / "one"), options, workers=0)
    preparing.prepare("memory-clips", str(tmp_path / "other"), options, tasks=backwards)
    one = files_of(tmp_path / "one")
    assert len([name for name in one if name.startswith("train-")]) > 2
    assert one == files_of(tmp_path / "other")


@pytest.mark.slow
@pytest.mark.alone
def test_ray_tasks_make_the_same_bytes(tmp_path: Path) -> None:
    options = PrepareSettings(subset=500, shard_size=3, validation=40)
    for workers in (0, 2):
        prepare("moving-mnist-small", str(tmp_path / str(workers)), options, workers=workers)
    one = files_of(tmp_path / "0")
    assert len(one) > 3
    assert one == files_of(tmp_path / "2")


def test_row_groups_are_closed_by_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Memory(**LARGE)
    made(monkeypatch, tmp_path / "set", source, shard_size=1000)
    sizes = [length * 64 * 64 * 3 for length in source.lengths]
    expected, held = [], 0
    for place in range(len(sizes)):
        held += 1
        size = sum(sizes[place + 1 - held : place + 1])
        if (size >= 4 << 20 and held >= 8) or size >= 32 << 20:
            expected.append(held)
            held = 0
    expected += [held] if held else []
    assert open_images(str(tmp_path / "set")).groups == (tuple(expected),)
    assert len(expected) > 3


def test_large_clips_are_alone_in_their_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 9.6 MB each: four are the first to reach 32 MiB.
    source = Memory((50,) * 6, shape=(256, 256, 3))
    made(monkeypatch, tmp_path / "set", source, shard_size=1000)
    assert open_images(str(tmp_path / "set")).groups == ((4, 2),)


def test_shards_of_clips_of_one_length_hold_whole_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 98 kB each: 43 reach 4 MiB, and 86 of them are 8.5 MB.
    source = Memory((8,) * 230, shape=(64, 64, 3))
    made(monkeypatch, tmp_path / "set", source, shard_size=10)
    assert open_images(str(tmp_path / "set")).groups == ((43, 43), (43, 43), (43, 15))


@pytest.mark.parametrize(
    ("frames", "short", "cut", "length", "expected"),
    [
        (None, "drop", None, 2, [[0, 1]]),
        (4, "drop", None, 3, []),
        (4, "drop", None, 4, [[0, 1, 2, 3]]),
        (5, "loop", None, 2, [[0, 1, 0, 1, 0]]),
        (2, "loop", None, 3, [[0, 1, 2]]),
        (None, "drop", 3, 8, [[0, 1, 2], [3, 4, 5]]),
        (2, "drop", 3, 8, [[0, 1, 2], [3, 4, 5], [6, 7]]),
        (None, "loop", 3, 8, [[0, 1, 2], [3, 4, 5], [6, 7, 6]]),
        # A frame alone never moves.
        (None, "loop", 3, 7, [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_lengths_are_kept_dropped_looped_and_cut(
    frames: int | None, short: str, cut: int | None, length: int, expected: list[list[int]]
) -> None:
    found = Lengths(frames, short, cut, 10.0, False).pieces(length, 10.0)
    assert [each.tolist() for each in found] == expected


@pytest.mark.parametrize(
    ("fps", "rate", "expected"),
    [
        (10.0, 30.0, [0, 3, 6, 9]),
        (15.0, 30.0, [0, 2, 4, 6, 8]),
        # 2.5 frames apart: 2.5 and 7.5 are as near to the later ones.
        (10.0, 25.0, [0, 3, 5, 8]),
        (30.0, 29.97, list(range(10))),
        (10.0, None, list(range(10))),
    ],
)
def test_frames_are_taken_at_the_rate_that_is_asked_for(
    fps: float, rate: float | None, expected: list[int]
) -> None:
    (found,) = Lengths(None, "drop", None, fps, True).pieces(10, rate)
    assert found.tolist() == expected
    # Every one is the nearest in time, within half a frame of the source.
    times = np.arange(len(expected)) / fps
    assert np.abs(found / (rate or fps) - times).max() <= 0.5 / (rate or fps) + 0.01


def test_rates_are_not_raised() -> None:
    with pytest.raises(BadImageError, match="of 8 frames a second, fewer than --fps 10"):
        Lengths(None, "drop", None, 10.0, True).pieces(10, 8.0)


def test_what_is_too_short_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    source = Memory(fps=(None,))
    monkeypatch.setitem(clip_sources.MADE, "memory-clips", lambda *given: source)
    known = prepare(
        "memory-clips",
        str(tmp_path / "set"),
        PrepareSettings(frames=5),
        workers=0,
        note=notes.append,
    )
    assert known.clips == (5, 12, 5 + 8 + 5 + 12, 25.0)
    assert known.source["too_short"] == 3
    assert any("left out: 3 clips of fewer than 5 frames" in note for note in notes)
    assert any("25 is written down" in note for note in notes)
    looped = made(monkeypatch, tmp_path / "looped", source, frames=5, short="loop")
    assert (looped.count, looped.clips) == (7, Clips(5, 12, 45, 25.0))
    second = clips_in(tmp_path / "looped")[1]
    assert np.array_equal(second, source.clip(1)[[0, 1, 2, 0, 1]])


@pytest.mark.parametrize(("frames", "left"), [(None, 2 + 3), (3, 2), (2, 0)])
def test_what_is_cut_off_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int | None, left: int
) -> None:
    notes: list[str] = []
    monkeypatch.setitem(clip_sources.MADE, "memory-clips", lambda *given: Memory((10, 11, 4)))
    options = PrepareSettings(cut=4, frames=frames)
    prepare("memory-clips", str(tmp_path / "set"), options, workers=0, note=notes.append)
    told = [f"{left} frames at the ends of clips that were cut, fewer than {frames or 4} each"]
    found = [note.removeprefix("left out: ").partition(" (")[0] for note in notes]
    assert [note for note in found if "ends" in note] == (told if left else [])


def test_validation_holds_clips_of_other_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Memory((10,) * 12)
    known = made(monkeypatch, tmp_path / "set", source, subset=8, validation=3, cut=4, seed=5)
    order = draws.permutation(5, "hold out", 0, 12)
    kept, held = sorted(order[3:8].tolist()), sorted(order[:3].tolist())
    for folder, numbers in ((tmp_path / "set", kept), (tmp_path / "set" / "validation", held)):
        expected = [
            source.clip(number)[start : start + 4] for number in numbers for start in (0, 4)
        ]
        found = clips_in(folder)
        assert len(found) == len(expected)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert (known.count, known.clips) == (10, Clips(4, 4, 40, 10.0))


def test_frames_are_resized_and_recoloured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Memory(shape=(6, 4, 3))
    made(
        monkeypatch,
        tmp_path / "set",
        source,
        size="3x2",
        crop="none",
        channels="gray",
        filter="box",
    )
    found = clips_in(tmp_path / "set")
    for number, clip in enumerate(found):
        for frame, own in zip(clip, source.clip(number), strict=True):
            image = Image.fromarray(own).convert("L").resize((2, 3), Image.Resampling.BOX)
            assert np.array_equal(frame[..., 0], np.asarray(image))


def test_sets_of_images_are_told_as_before_there_were_clips() -> None:
    # The options of format 2 when it was made; the names of prepared folders depend on them.
    assert list(PrepareSettings().told()) == [
        *("split", "size", "crop", "filter", "channels", "subset", "validation", "shard_size"),
        *("store", "skip_bad", "seed"),
    ]
    told = PrepareSettings(clips="files", frames=8, short="loop", cut=16, fps=12).told()
    assert {name: told[name] for name in ("clips", "frames", "short", "cut", "fps")} == {
        "clips": "files",
        "frames": 8,
        "short": "loop",
        "cut": 16,
        "fps": 12.0,
    }


@pytest.mark.parametrize("store", ["raw", "png"])
@pytest.mark.parametrize("labelled", [True, False])
def test_info_describes_and_draws_film_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, labelled: bool
) -> None:
    source = Memory(shape=(24, 24, 1))
    source.classes = source.classes if labelled else ()
    made(monkeypatch, tmp_path / "set", source, store=store, shard_size=1)
    found = inform(str(tmp_path / "set"))
    assert found.lines["clips"] == "7"
    assert found.lines["lengths"] == "2 to 12 frames, 5.6 on average"
    assert found.lines["frames"] == "39 of 24x24x1 (height, width, channels)"
    assert found.lines["rate"] == "10 frames a second"
    assert (found.rows, found.counts) == ("clips", (4, 3) if labelled else ())
    drawn = np.asarray(Image.open(io.BytesIO(found.picture)).convert("L"))
    # Frames are enlarged, the fewer rows the more, without smoothing.
    times = 4 if labelled else 3
    side = 24 * times
    clip = source.clip(1 if labelled else 0)
    strip = np.kron(clip[:2, ..., 0], np.ones((1, times, times), np.uint8))
    for frame in strip:
        windows = np.lib.stride_tricks.sliding_window_view(drawn, (1, side))[:, :, 0]
        rows, columns = np.nonzero((windows[: 1 - side] == frame[0]).all(-1))
        assert any(
            np.array_equal(drawn[y : y + side, x : x + side], frame)
            for y, x in zip(rows, columns, strict=True)
        )


def test_the_command_makes_and_describes_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["data", "prepare", "moving-mnist-small", "--subset", "30", "--workers", "0"]
    assert main([*words, "--validation", "5", "--out", "digits"]) == 0
    said = capsys.readouterr().out
    assert "25 clips of 20 frames of 32x32x1 in digits" in said
    assert "distgan train moving-mnist-mocogan --data digits\n" in said
    assert main(["data", "info", "digits"]) == 0
    said = capsys.readouterr().out
    assert "20 frames each, 2.0 s" in said
    assert (tmp_path / "digits-info.png").exists()
    assert open_images("digits").clips == (20, 20, 500, 10.0)
    assert open_images("digits/validation").count == 5


def test_no_recipe_is_named_that_a_set_is_too_short_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.zeros((8, 3, 32, 32), np.uint8))
    words = ["data", "prepare", "short.npy", "--clips", "stack", "--workers", "0"]
    assert main([*words, "--out", "short"]) == 0
    assert "distgan train RECIPE --data short\n" in capsys.readouterr().out


def test_a_set_of_a_name_is_made_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("distgan.data.clips.moving.COUNT", 20)
    assert raw.is_raw("moving-mnist-small", "--data")
    seen: list[DataSpec] = []
    notes: list[str] = []
    for _ in range(2):
        folder = ready_clips(
            "moving-mnist-small", PrepareSettings(), check=seen.append, note=notes.append
        )
    images = open_images(folder)
    assert seen == 2 * [DataSpec(images.shape, images.classes, clips=images.clips)]
    assert images.count == 20
    assert not raw.is_raw(folder, "--data")
    assert "preparing them as they are, once" in notes[0]
    assert "prepared as they are before" in notes[-1]
    with pytest.raises(UserError, match="`distgan data prepare moving-mnist --out moving-mnist`"):
        open_images("moving-mnist")


def folder_of_frames(at: Path, source: Memory) -> Path:
    for number in range(source.count):
        for time, frame in enumerate(source.clip(number)):
            place = at / ("odd" if number % 2 else "even") / f"clip{number}" / f"{time:03d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(png(frame))
    return at


def gifs(at: Path, source: Memory) -> Path:
    for number in range(source.count):
        place = at / ("odd" if number % 2 else "even") / f"clip{number}.gif"
        place.parent.mkdir(parents=True, exist_ok=True)
        frames = [Image.fromarray(frame[..., 0]) for frame in source.clip(number)]
        frames[0].save(place, save_all=True, append_images=frames[1:], duration=100)
    return at


def strips(at: Path, source: Memory) -> Path:
    for number in range(source.count):
        place = at / ("odd" if number % 2 else "even") / f"clip{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(np.concatenate(list(source.clip(number)), 1)))
    return at


@pytest.mark.parametrize(
    ("kind", "write"), [("frames", folder_of_frames), ("files", gifs), ("strips", strips)]
)
def test_clips_in_files_become_a_set(tmp_path: Path, kind: Any, write: Any) -> None:
    source = Memory((3, 5, 4, 6), shape=(8, 8, 1))
    place = write(tmp_path / "source", source)
    options = PrepareSettings(clips=kind, channels="gray", fps=10)
    known = prepare(str(place), str(tmp_path / "set"), options, workers=0)
    assert (known.classes, known.class_counts) == (("even", "odd"), (2, 2))
    assert known.clips == (3, 6, 18, 10.0)
    found = clips_in(tmp_path / "set")
    for number, clip in zip((0, 2, 1, 3), found, strict=True):
        # A GIF's palette holds 256 grays, all that there are.
        assert np.array_equal(clip, source.clip(number))


def test_a_stack_and_panned_images_become_sets(tmp_path: Path) -> None:
    stack = np.random.default_rng(3).integers(0, 256, (4, 6, 9, 9), np.uint8)
    np.save(tmp_path / "stack.npy", stack)
    options = PrepareSettings(clips="stack")
    known = prepare(str(tmp_path / "stack.npy"), str(tmp_path / "set"), options, workers=0)
    assert known.clips is not None
    assert (known.count, known.clips[:3]) == (6, (4, 4, 24))
    found = np.stack(clips_in(tmp_path / "set"))[..., 0]
    assert np.array_equal(found, stack.swapaxes(0, 1))
    options = PrepareSettings(clips="panning", size=20, frames=7, subset=5)
    known = prepare("mnist", str(tmp_path / "panned"), options, workers=0)
    assert (known.count, known.clips, known.height) == (5, Clips(7, 7, 35, 10.0), 20)
