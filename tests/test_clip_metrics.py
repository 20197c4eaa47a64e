"""Clips measured as a run measures them: values, cards, ranks, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor, nn

from distgan import draws
from distgan.config.clip import Clips, ClipSettings, FrameRule
from distgan.config.evaluate import EvaluateSettings
from distgan.config.shape import ImageShape
from distgan.data.clips.moving import open_moving
from distgan.data.clips.read import read_clips
from distgan.data.clips.schema import clip_schema
from distgan.data.clips.view import View
from distgan.data.images import ImageSet
from distgan.errors import UserError
from distgan.evaluate import clips as measured
from distgan.evaluate.clips import MeasuredClips
from distgan.evaluate.evaluation import Evaluation, Evaluator, check
from distgan.evaluate.extraction import in_8_bits
from distgan.evaluate.rows import ShownSet
from distgan.families import Batch, DataSpec
from distgan.families.clip_family import ClipFamily
from distgan.features import load
from distgan.features.motion import motion_extractor
from distgan.features.moving_digits import keep
from distgan.metrics import frechet, motion
from distgan.metrics.moments import Moments
from distgan.metrics.names import CLIP_METRICS, better, values_of
from distgan.parallel import World

from . import ranks

COUNT, LENGTH, FRAMES, STRIDE = 40, 20, 8, 2
SHAPE = ImageShape(1, 32, 32)


def written(folder: Path, first: int = 0, classes: bool = True) -> ImageSet:
    """Some of the small set's clips, in row groups of nine."""
    source = open_moving("moving-mnist-small", "train", first + COUNT, 0)
    numbers = np.arange(first, first + COUNT)
    frames = [[f.tobytes() for f in source.clip(number)] for number in numbers.tolist()]
    schema = clip_schema(SHAPE, encoded=False, labels=True)
    table = pa.table({"frames": frames, "label": source.labels(numbers)}, schema=schema)
    folder.mkdir()
    file = folder / "part-0.parquet"
    pq.write_table(table, file, row_group_size=9)
    content = file.read_bytes()
    clips = Clips(LENGTH, LENGTH, COUNT * LENGTH, 10.0)
    shard = {"name": file.name, "count": COUNT, "bytes": len(content)}
    shard["sha256"] = hashlib.sha256(content).hexdigest()
    names = source.classes if classes else tuple("abcdefghij")
    counts = np.bincount(source.labels(numbers), minlength=10).tolist()
    made = {
        **{"format": 2, "count": COUNT, "height": 32, "width": 32, "channels": 1, "mean": [0.5]},
        **{"classes": names, "class_counts": counts},
        **{"files": [shard], "schema": str(schema), "skipped": 0, "source": {}},
        "clips": clips._asdict(),
    }
    (folder / "manifest.json").write_text(json.dumps(made))
    groups = tuple(min(9, COUNT - start) for start in range(0, COUNT, 9))
    return ImageSet(str(folder), (str(file),), (groups,), SHAPE, names, False, clips=clips)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    return written(tmp_path_factory.mktemp("clips") / "set")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Replayed(ClipFamily):
    """A family whose clip of each number is known."""

    def __init__(self, known: Tensor, images: ImageSet, world: World) -> None:
        clip = ClipSettings(frames=FRAMES, stride=STRIDE)
        config = SimpleNamespace(clip=clip, conditional=False, family="replayed", loss="hinge")
        super().__init__(config, DataSpec(images.shape, images.classes, clips=images.clips), world)
        self._known = known

    judged: Any = {}  # noqa: RUF012
    frame_rule: Any = FrameRule(2)
    networks: Any = None
    phases: Any = None

    def inputs_of(self, frames: int, spacing: float) -> Any:
        return {}

    def make(
        self, networks: Mapping[str, nn.Module], batch: Batch, frames: int, spacing: float
    ) -> Tensor:
        raise AssertionError

    def clips(self, *arguments: Any, labels: Tensor | None = None, **options: Any) -> Tensor:
        _, seed, purpose, numbers = arguments
        assert (seed, purpose) == (0, "evaluate")
        return self._known[numbers.start : numbers.stop]


def generated(count: int = COUNT) -> Tensor:
    """float (n, 8, 1, 32, 32) in [-1, 1], between two levels of 8 bits: digits at half speed."""
    source = open_moving("moving-mnist-small", "train", 500, 9)
    clips = np.stack([source.clip(200 + number)[:FRAMES] for number in range(count)])
    exact = torch.from_numpy(clips).permute(0, 1, 4, 2, 3).double()
    return ((exact + 0.3).clamp_max(255) / 127.5 - 1).float()


def settings(**changes: Any) -> EvaluateSettings:
    return EvaluateSettings(**{"metrics": CLIP_METRICS, "num": COUNT, **changes})


def evaluated(images: ImageSet, world: World | None = None, **changes: Any) -> Evaluation:
    world = world or World()
    chosen = settings(**changes)
    family = Replayed(generated(chosen.num), images, world)
    return Evaluator(chosen, images, "moving", family, world).evaluate({}, 5)


def test_values_are_those_of_a_straight_line(images: ImageSet) -> None:
    found = evaluated(images)
    view = View(FrameRule(FRAMES, STRIDE), 0, "evaluate-frames")
    real = read_clips(images, np.arange(COUNT), view)[0]
    fake = in_8_bits(generated())
    assert real.shape == fake.shape == (COUNT, FRAMES, 1, 32, 32)

    def distance(one: Tensor, other: Tensor) -> float:
        return frechet.distance(Moments.of(one), Moments.of(other))

    extractor, digits = motion_extractor(), load("mnist")
    values = {name: value.value for name, value in found.values.items()}
    expected = distance(extractor(real).features, extractor(fake).features)
    assert values["clip-frechet"] == pytest.approx(expected, rel=1e-4)

    shares = draws.uniforms(0, "evaluate-frame", [range(COUNT)], 1)[:, 0]
    at = np.minimum((shares.astype(np.float64) * FRAMES).astype(int), FRAMES - 1)
    assert len(set(at.tolist())) > 3
    frames = [
        torch.stack([clip[t] for clip, t in zip(side, at, strict=True)]) for side in (real, fake)
    ]
    expected = distance(*(digits(side).features for side in frames))
    assert values["frame-frechet"] == pytest.approx(expected, rel=1e-4)

    for name, of, numbers in (
        ("difference-distance", "frame-difference", motion.frame_differences),
        ("speed-distance", "speed", motion.speeds),
    ):
        sides = [numbers(side).flatten().numpy() for side in (real, fake)]
        assert values[name] == pytest.approx(wasserstein_distance(*sides))
        assert values[of] == pytest.approx(sides[1].mean())
        assert values[f"{of}-of-real"] == pytest.approx(sides[0].mean())
    # Real clips are seen at every other frame.
    assert values["speed-of-real"] == pytest.approx(2 * 1.8, rel=0.15)
    assert values["speed"] == pytest.approx(1.8, rel=0.15)

    assert values["digits-kept"] == keep(fake, 1, digits).mean().item()
    assert values["digits-kept-of-real"] == keep(real, 1, digits).mean().item()
    assert values["digits-kept"] > 0.8
    for name, value in found.values.items():
        if value.low is not None and value.high is not None:
            assert value.low <= value.value <= value.high, name
    assert found.values["clip-frechet"].low is not None
    assert found.values["speed-distance"].low is not None


def test_every_value_that_is_better_one_way_is_given(images: ImageSet) -> None:
    found = evaluated(images)
    for metric in CLIP_METRICS:
        for name in values_of(metric):
            assert name in found.values
            assert better(name) == ("higher" if name == "digits-kept" else "lower")
    assert not any(better(name) for name in found.values if name.endswith("-of-real"))


def test_the_card_says_by_which_rule(images: ImageSet) -> None:
    card = evaluated(images).card.to_dict()
    assert (card["clip_frames"], card["clip_stride"]) == (FRAMES, STRIDE)
    assert (card["real"], card["fake"], card["split"]) == (COUNT, COUNT, "train")
    assert "drawn by seed and clip" in card["clip_start"]
    assert card["clip_checksum"] == card["data_checksum"]
    assert card["motion_hash"] == motion_extractor().hash
    assert "32x32" in card["motion_resize"]
    assert load("mnist").hash in card["digits"]
    assert card["clip_frame"]
    assert "fewer clips" in card["bias"]
    less = evaluated(images, metrics=("motion",)).card.to_dict()
    assert not {"motion", "digits", "clip_frame", "bias"} & {k for k, v in less.items() if v}
    assert less["extractor"] == ""


@pytest.mark.slow
def test_blocks_and_the_cache_change_nothing(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluated(images)
    again = evaluated(images)
    assert again.values == whole.values
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere/at/all")
    monkeypatch.setattr(measured, "_BLOCK_BYTES", 7 * FRAMES * 32 * 32)
    for name, value in evaluated(images).values.items():
        assert value.value == pytest.approx(whole.values[name].value, rel=1e-3, abs=1e-9), name


@pytest.mark.slow
def test_digits_are_read_in_the_first_clips_only(
    images: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "MOST_READ", 17)
    found = evaluated(images, metrics=("digits-kept",))
    expected = keep(in_8_bits(generated())[:17], 1, load("mnist")).mean().item()
    assert found.values["digits-kept"].value == expected
    assert "first 17 clips" in found.card.digits


def _values(world: World, images: ImageSet) -> dict[str, float]:
    # So that each rank has blocks, and one more than the other.
    measured._BLOCK_BYTES = 14 * FRAMES * 32 * 32
    found = evaluated(images, world)
    return {name: value.value for name, value in found.values.items()}


@pytest.mark.slow
def test_values_are_the_same_on_two_ranks(images: ImageSet, tmp_path: Path) -> None:
    found = ranks.on_ranks(2, _values, tmp_path, images)
    alone = ranks.on_ranks(1, _values, tmp_path, images)
    assert found[0] == found[1] == alone[0]


def test_held_out_clips_are_the_real_ones_where_there_are_such(
    images: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = written(tmp_path / "other", first=COUNT)
    monkeypatch.setattr(measured, "shown_set", lambda *given: ShownSet(other, "validation"))
    found = evaluated(images, metrics=("motion",))
    view = View(FrameRule(FRAMES, STRIDE), 0, "evaluate-frames")
    real = read_clips(other, np.arange(COUNT), view)[0]
    mean = motion.frame_differences(real).mean().item()
    assert found.values["frame-difference-of-real"].value == pytest.approx(mean)
    assert found.card.split == "validation"
    assert found.card.clip_checksum != found.card.data_checksum


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num": 10_001}, "up to 10,000"),
        ({"metrics": ("frechet",)}, "cannot be measured by it"),
        ({"metrics": ("clip-frechet", "l1")}, "l1: a model of the family"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    images: ImageSet, changes: dict[str, Any], message: str
) -> None:
    family = Replayed(generated(1), images, World())
    with pytest.raises(UserError, match=message):
        check(settings(**changes), family, images)


def test_clips_that_cannot_be_compared_are_refused(images: ImageSet, tmp_path: Path) -> None:
    family = Replayed(generated(1), images, World())
    letters = replace(images, classes=tuple("abcdefghij"))
    with pytest.raises(UserError, match="do not say which digits are seen"):
        check(settings(), family, letters)
    short = replace(images, clips=Clips(14, 20, 600, 10.0))
    with pytest.raises(UserError, match="at least 15 frames, and the shortest has 14"):
        check(settings(), family, short)
    with pytest.raises(UserError, match="holds images"):
        check(settings(), family, replace(images, clips=None))
    one = replace(images, groups=((1,),))
    with pytest.raises(UserError, match="at least 2 real clips"):
        check(settings(), family, one)


@pytest.mark.slow
def test_speeds_are_of_digits_only(tmp_path: Path) -> None:
    letters = written(tmp_path / "letters", classes=False)
    found = evaluated(letters, metrics=("motion",))
    assert set(found.values) == {
        *("difference-distance", "frame-difference", "frame-difference-of-real")
    }


def test_measured_clips_are_shared_out(images: ImageSet) -> None:
    world = World()
    chosen = settings(num=25)
    family = Replayed(generated(25), images, world)
    found = MeasuredClips(images, chosen, family, world, load("mnist"))
    assert found.real_count == 25
    values = found.measure({})
    assert list(values) == list(CLIP_METRICS)
