"""Clips of strips and of stacks, and damaged bytes of every kind of source of clips."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from distgan.data.clips.base import ClipSource
from distgan.data.clips.files import open_files
from distgan.data.clips.frames import open_frames
from distgan.data.clips.stack import open_stack
from distgan.data.clips.strips import open_strips
from distgan.data.decoder import BadImageError
from distgan.data.transform import Transform
from distgan.errors import UserError

from .test_clip_files import animate, clip, clips, pixels, reason, refused, write_frames
from .test_fuzzed_sources import WAYS, limited

# --- strips


@pytest.mark.parametrize("below", [False, True])
def test_strips(tmp_path: Path, below: bool) -> None:
    wanted = [clip(n, 4 + n, 12, 12) for n in range(3)]
    for number, frames in enumerate(wanted):
        folder = tmp_path / ("odd" if number % 2 else "even")
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.concatenate(frames, 0 if below else 1)).save(folder / f"{number}.png")
    source = open_strips(tmp_path, "train", None)
    assert source.classes == ("even", "odd")
    found = clips(source)
    assert [item.label for item in found] == [0, 0, 1]
    for item, number in zip(found, (0, 2, 1), strict=True):
        np.testing.assert_array_equal(pixels(item), wanted[number])


def test_strips_of_frames_that_are_not_square(tmp_path: Path) -> None:
    frames = clip(1, 6, 12, 16)
    Image.fromarray(np.concatenate(frames, 1)).save(tmp_path / "0.png")
    Image.fromarray(np.concatenate(frames, 0)).save(tmp_path / "1.png")
    Image.fromarray(frames[0]).save(tmp_path / "2.png")
    Image.new("RGB", (32, 24)).save(tmp_path / "3.png")
    (tmp_path / "4.png").write_bytes(b"no image")
    source = open_strips(tmp_path, "train", (12, 16))
    found = clips(source)
    for item in found[:2]:
        np.testing.assert_array_equal(pixels(item), frames)
    assert len(found[2].frames) == 1
    assert "24x32 (height, width), which is no row or column of whole frames of 12x16" in reason(
        source, 3
    )
    assert reason(source, 4).startswith("not an image")
    squares = open_strips(tmp_path, "train", None)
    assert len(clips(squares)[0].frames) == 8
    assert "frames of 16x16, squares of its shorter side" in reason(squares, 1)


# --- stacks


def saved(path: Path, array: NDArray[Any]) -> Path:
    np.save(path, array)
    return path


def test_layouts_of_stacks(tmp_path: Path) -> None:
    wanted = np.stack([clip(n, 5, channels=1) for n in range(9)])
    colour = np.stack([clip(n, 5) for n in range(4)])
    gray = wanted[..., 0]
    layouts = {
        "time first": (gray.transpose(1, 0, 2, 3), wanted),
        "clips first": (gray, wanted),
        "fortran": (np.asfortranarray(gray), wanted),
        "channel": (wanted, wanted),
        "few clips": (wanted[:3], wanted[:3]),
        "colour": (colour, colour),
        "channels first": (colour.transpose(0, 1, 4, 2, 3), colour),
    }
    for name, (array, frames) in layouts.items():
        source = open_stack(saved(tmp_path / f"{name}.npy", array), "train")
        assert f"{len(frames)} clips of 5 frames of 12x16" in source.notes[0]
        found = clips(pickle.loads(pickle.dumps(source)))
        assert [item.where for item in found][-1].endswith(f"{name}.npy, clip {len(frames) - 1}")
        for item, each in zip(found, frames, strict=True):
            np.testing.assert_array_equal(pixels(item), each)


def test_the_published_shape_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "mnist_test_seq.npy"
    # 819 MB, of which the filesystem stores only what is written.
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (20, 10_000, 64, 64))
    array[:, 9_999] = clip(1, 20, 64, 64, 1)[..., 0]
    array.flush()
    del array
    source = open_stack(path, "train")
    assert source.count == 10_000
    assert "frames first" in source.notes[0]
    first, last = source.read(np.array([0, 9_999]))
    assert not pixels(first).any()
    np.testing.assert_array_equal(pixels(last), clip(1, 20, 64, 64, 1))


def test_stacks_of_splits(tmp_path: Path) -> None:
    saved(tmp_path / "train.npy", np.stack([clip(n) for n in range(3)]))
    saved(tmp_path / "test.npy", np.stack([clip(n) for n in range(10, 12)]))
    np.testing.assert_array_equal(pixels(clips(open_stack(tmp_path, "test"))[1]), clip(11))
    saved(tmp_path / "train2.npy", np.stack([clip(1)]))
    assert "several .npy files" in refused(open_stack, tmp_path, "train")


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


def test_bad_stacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    moving = np.stack([clip(n, 6, channels=1) for n in range(6)])[..., 0]
    arrays: dict[str, tuple[NDArray[Any], str]] = {
        "float": (moving / 255, "holds dtype('float64'); convert the pixels to uint8"),
        "objects": (np.array([Bomb()], object), "cannot be read as clips"),
        "three": (moving[0], "not of clips; save it as (clips, frames, height, width, channels)"),
        "two": (np.stack([moving] * 2, 4), "with 2 channels"),
        "five": (np.stack([moving] * 5, 4), "with 5 channels"),
        "images": (np.stack([moving[0]] * 3, 3), "may be images or one clip"),
        "square": (moving, "so frames or clips may come first"),
        "odd": (np.stack([clip(n, 20, channels=1) for n in range(4)])[..., 0], "more alike"),
        "one": (moving[:, :1, ..., None], "a clip has at least two frames"),
        "none": (moving[:0, ..., None], "a clip has at least two frames"),
    }
    for name, (array, wanted) in arrays.items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        assert wanted in refused(open_stack, tmp_path / f"{name}.npy", "train"), name
    assert not (tmp_path / "unpickled").exists()
    # In the form that the remedy names it is read.
    saved(tmp_path / "square.npy", moving[..., None])
    assert open_stack(tmp_path / "square.npy", "train").count == 6
    np.savez(tmp_path / "a.npz", moving)
    assert "a .npz" in refused(open_stack, tmp_path / "a.npz", "train")
    content = (tmp_path / "square.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-1])
    assert "cannot be read as clips" in refused(open_stack, tmp_path / "cut.npy", "train")
    assert "has no split test" in refused(open_stack, tmp_path / "square.npy", "test")
    os.mkfifo(tmp_path / "pipe.npy")
    assert "is a pipe" in refused(open_stack, tmp_path / "pipe.npy", "train")
    source = open_stack(tmp_path / "square.npy", "train")
    saved(tmp_path / "square.npy", moving[:3, ..., None])
    assert "the file holds (3, 6, 12, 16, 1) now" in reason(source)


# --- damage


def specimens(folder: Path) -> dict[str, tuple[Callable[[], ClipSource], list[Path]]]:
    frames = write_frames(folder / "frames" / "a", clip(1, 3))
    write_frames(folder / "frames" / "b", clip(2, 3))
    with zipfile.ZipFile(folder / "frames.zip", "w") as archive:
        for file in sorted((folder / "frames").rglob("*.png")):
            archive.write(file, file.relative_to(folder / "frames"))
    files = [animate(folder / "files" / f"{e}.{e}", clip(3)) for e in ("gif", "webp", "png")]
    (folder / "strips").mkdir()
    strip = folder / "strips" / "a.png"
    Image.fromarray(np.concatenate(clip(1, 4, 8, 8), 1)).save(strip)
    stack = saved(folder / "stack.npy", np.stack([clip(n, 3) for n in range(4)]))
    return {
        "frames": (lambda: open_frames(folder / "frames", "train"), [*frames.iterdir()]),
        "zip": (lambda: open_frames(folder / "frames.zip", "train"), [folder / "frames.zip"]),
        "files": (lambda: open_files(folder / "files", "train"), files),
        "strips": (lambda: open_strips(folder / "strips", "train", None), [strip]),
        "stack": (lambda: open_stack(stack, "train"), [stack]),
    }


def outcome(opener: Callable[[], ClipSource]) -> str:
    """What becomes of a source: whole, partly damaged, or a line (or, wrongly, an exception)."""
    said: list[str] = []
    line = ""
    with limited(10):
        try:
            for item in clips(opener()):
                for frame in item.frames:
                    try:
                        Transform().pixels(frame)
                    except BadImageError as error:
                        said.append(str(error))
        except UserError as error:
            line = str(error)
    assert all(each.isprintable() for each in [line, *said])
    if line:
        assert 20 < len(line) < 2000
        return "a line"
    return "bad frames" if said else "whole"


@pytest.mark.parametrize("kind", ["frames", "zip", "files", "strips", "stack"])
def test_damage_is_a_line_or_bad_frames(tmp_path: Path, kind: str) -> None:
    opener, files = specimens(tmp_path)[kind]
    found = Counter[str]()
    for file in files:
        whole = file.read_bytes()
        for way, mutate in WAYS.items():
            for seed in range(6):
                draw = np.random.default_rng([zlib.crc32(f"{kind}{file.name}{way}".encode()), seed])
                file.write_bytes(mutate(whole, draw))
                found[outcome(opener)] += 1
        file.write_bytes(whole)
    assert outcome(opener) == "whole"
    assert found["a line"] + found["bad frames"] > len(files) * 3
