"""What is said of clips, options and manifests of which no set of clips can be made or read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distgan.cli.main import main
from distgan.data.images import open_images
from distgan.data.prepare_settings import PrepareSettings
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from tests.clips_in_memory import Memory, clips_in, made


class Mixed(Memory):
    """Whose third clip is of another shape."""

    def __init__(self, other: tuple[int, int, int]) -> None:
        super().__init__((4,) * 5)
        self.other = other

    def clip(self, number: int) -> NDArray[np.uint8]:
        if number == 2:
            return np.zeros((4, *self.other), np.uint8)
        return super().clip(number)


BAD = [
    (Memory((4, 1, 4)), {}, "memory, clip 1: a clip of one frame; a clip has two or more; mend"),
    (Memory((4, 0, 4)), {}, "memory, clip 1: a clip without frames"),
    (Mixed((5, 4, 1)), {}, "clip 2: frame 0 is 5x4, but the first frame is 6x4 (give --size"),
    (Mixed((6, 4, 3)), {}, "clip 2: frame 0 is colored, but the first frame is gray (give --ch"),
    (Mixed((6, 4, 2)), {}, "clip 2: frame 0 has 2 channels; 1, 3 and 4 are known"),
    (Memory((4, 4), fps=(30, 24)), {}, "is of 24 frames a second, but the first clip is of 30"),
    (
        Memory((4, 4), fps=(30.0, 24.0)),
        {"fps": 30},
        "24 frames a second, fewer than --fps 30; take",
    ),
    (Memory((4, 9), damaged=[(1, 7)]), {}, "clip 1: frame 7 (cannot be read (broken)); mend or"),
    (Memory((4, 1), damaged=[(1, 0)]), {}, "memory, clip 1: cannot be read (broken); mend"),
]


@pytest.mark.parametrize(("source", "options", "said"), BAD)
def test_a_bad_clip_is_named_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: Memory,
    options: dict[str, Any],
    said: str,
) -> None:
    with pytest.raises(UserError) as caught:
        made(monkeypatch, tmp_path / "set", source, **options)
    assert said in str(caught.value)
    assert "leave such clips out with --skip-bad N" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "set" / "manifest.json").exists()
    known = made(monkeypatch, tmp_path / "set", source, skip_bad=1, **options)
    assert (known.count, known.skipped) == (source.count - 1, 1)
    listed = (tmp_path / "set" / "bad-images.txt").read_text()
    assert said.split("; mend")[0] in listed


def test_what_lies_before_the_damage_of_a_cut_film_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Memory((12, 4), damaged=[(0, 9)])
    known = made(monkeypatch, tmp_path / "set", source, cut=4, skip_bad=1)
    assert (known.count, known.skipped, known.class_counts) == (3, 1, (2, 1))
    found = clips_in(tmp_path / "set")
    assert np.array_equal(np.concatenate(found[:2]), source.clip(0)[:8])


REFUSED = [
    ({"frames": 13}, "--frames 13: the longest clip has 12 frames; take fewer, or repeat short"),
    ({"cut": 13}, "--cut 13: the longest clip has 12 frames"),
    ({"short": "loop"}, "--short loop: says what becomes of clips with fewer frames than --frames"),
    ({"frames": 9, "cut": 8}, "--frames 9: is more than the --cut 8"),
    ({"pairs": "folders"}, "--pairs: memory-clips is of clips, which have no pairs"),
    ({"pair_size": 4}, "--pair-size: memory-clips is of clips, which have no pairs"),
    ({"clips": "files"}, "--clips files: memory-clips is a set of clips by itself"),
    ({"subset": 99}, "--subset 99: the source has only 7 clips"),
    ({"validation": 7}, "--validation 7: would leave none of 7 clips"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        made(monkeypatch, tmp_path / "set", Memory(), **options)
    assert str(caught.value).startswith(said)


def test_a_set_of_clips_is_no_source_of_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, tmp_path / "set", Memory())
    with pytest.raises(UserError, match=r"holds clips .* give the source that it was made of"):
        prepare(str(tmp_path / "set"), str(tmp_path / "again"), workers=0)


@pytest.mark.parametrize("name", ["frames", "cut", "fps"])
def test_options_of_clips_are_refused_of_images(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "images.npy", np.zeros((4, 6, 6, 1), np.uint8))
    with pytest.raises(UserError, match=f"--{name} 7.*is for clips, and .* is read as images"):
        prepare(
            str(tmp_path / "images.npy"),
            str(tmp_path / "set"),
            PrepareSettings(**{name: 7}),
            workers=0,
        )


def test_clips_without_a_manifest_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, tmp_path / "set", Memory())
    known = json.loads((tmp_path / "set" / "manifest.json").read_text())
    with pytest.raises(UserError, match=r"holds clips .* no manifest .*`distgan data prepare`"):
        open_images(str(tmp_path / "set" / "train.parquet"))
    for changed, said in (
        ({"clips": None}, "its manifest says images, the files hold clips"),
        ({"clips": {**known["clips"], "longest": 1}}, "clips: of 2 to 1 frames"),
        ({"clips": {**known["clips"], "frames": 3}}, "clips: 7 of 2 to 12 frames are not 3"),
        ({"clips": {**known["clips"], "fps": 0}}, "clips: 0.0 frames a second"),
        ({"height": 7}, "its manifest says a shape of 7x4x1, the files hold 6x4x1"),
    ):
        (tmp_path / "set" / "manifest.json").write_text(json.dumps({**known, **changed}))
        with pytest.raises(UserError) as caught:
            open_images(str(tmp_path / "set"))
        assert said in str(caught.value)
    (tmp_path / "set" / "manifest.json").unlink()
    with pytest.raises(UserError, match="holds clips"):
        open_images(str(tmp_path / "set"))


def test_a_run_on_images_refuses_clips_before_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["train", "mnist-mlp", "--data", "moving-mnist-small", "--workers", "0"]) == 2
    assert "holds clips, and the family gan learns from images" in capsys.readouterr().err
    assert not list(tmp_path.rglob("manifest.json"))
