"""Clips as training reads them: which frames of which clip a sample sees, in both ways."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from distgan import draws
from distgan.config.clip import FrameRule
from distgan.config.evaluate import EvaluateSettings
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data import decoder, feed_mode
from distgan.data.clips.read import read_clips
from distgan.data.clips.view import View
from distgan.data.clips.whole import read_whole_clips
from distgan.data.damage import Damage
from distgan.data.feed import Feed, Rows, SampleSource
from distgan.data.fragments import Fragment, read_fragment, read_in_order
from distgan.data.images import ImageSet
from distgan.data.pixels import Pixels
from distgan.data.rows import open_rows
from distgan.errors import UserError
from distgan.evaluate.rows import shown_rows
from distgan.families import Column
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.storage.storage import Storage
from distgan.training.taken_up import check_same_sets, of_sets

from .numbered_clips import COUNT, SHAPE, frame, length_of, png, shortened, write_clips

BATCH = 12
EPOCHS = 3 * COUNT // BATCH + 1
RULES = {
    "even": FrameRule(4, stride=3),
    "sparse": FrameRule(3, span=8),
    "extra": FrameRule(4, stride=2, extra=True),
}
WAYS: dict[str, dict[str, Any]] = {
    "resident": {"feed.way": "resident"},
    "streaming": {"feed.way": "streaming", "feed.window": 40, "feed.lanes": 4},
    "tiny windows": {"feed.way": "streaming", "feed.window": 12, "feed.lanes": 2},
}
Reader = Callable[[Iterable[Fragment]], Iterator[Pixels]]


def config_of(way: str, images: ImageSet, **changes: Any) -> RunConfig:
    base = {"data": images.uri, "batch": BATCH, "images": EPOCHS * BATCH, "seed": 5}
    return override(recipe("mnist-mlp-tutorial"), {**base, **WAYS[way], **changes})


def opened(
    config: RunConfig,
    images: ImageSet,
    rule: FrameRule,
    world: World,
    damage: Damage | None = None,
    reader: Reader | None = None,
) -> SampleSource:
    replace = damage is not None
    return open_rows(
        config,
        images,
        world,
        resident=lambda: read_whole_clips(images, replace),
        reader=reader or (lambda parts: read_in_order(images, parts, replace, rule=rule)),
        damage=damage or Damage(images, 0),
        rule=rule,
    )


def delivered(source: SampleSource, config: RunConfig, first: int, stop: int) -> list[Rows]:
    """The parts of the micro-batches from batch ``first``."""
    size = config.micro_batch
    with contextlib.closing(source):
        return [source.batch(seen) for seen in range(first * BATCH, stop * BATCH, size)]


def whole_batches(
    config: RunConfig, images: ImageSet, rule: FrameRule, ranks: int, first: int, stop: int
) -> Rows:
    """All samples from batch ``first``, from the parts of all ranks."""
    parts = [
        delivered(opened(config, images, rule, World(rank, ranks)), config, first, stop)
        for rank in range(ranks)
    ]
    found = [one for at in zip(*parts, strict=True) for one in at]
    kinds: list[Any] = [list(kind) for kind in zip(*found, strict=True)]
    images_, labels, _, times = kinds
    return Rows(torch.cat(images_), torch.cat(labels), None, torch.cat(times))


def expected(sample: int, clip: int, rule: FrameRule) -> tuple[np.ndarray, np.ndarray]:
    """What a sample sees of a clip: a straight line from the rule and the frames."""
    numbers = draws.uniforms(5, "frames", [range(sample, sample + 1)], rule.numbers)
    which = rule.choose(np.array([length_of(clip)]), numbers)[0]
    return np.stack([frame(clip, at) for at in which]), which


@pytest.mark.parametrize("encoded", [False, True], ids=["raw", "png"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", RULES)
def test_a_sample_sees_the_frames_that_its_numbers_choose(
    tmp_path: Path, kind: str, way: str, encoded: bool
) -> None:
    images, rule = write_clips(tmp_path / "set", encoded=encoded), RULES[kind]
    config = config_of(way, images)
    rows = whole_batches(config, images, rule, 1, 0, EPOCHS)
    assert rows.images.shape == (EPOCHS * BATCH, rule.shown, 2, 3, 1)
    assert rows.times is not None
    assert rows.labels is not None
    clips = rows.images[:, 0, 0, 0, 0].tolist()
    for sample, clip in enumerate(clips):
        frames, times = expected(sample, clip, rule)
        np.testing.assert_array_equal(rows.images[sample], frames)
        np.testing.assert_array_equal(rows.times[sample], times)
    assert rows.labels.tolist() == [clip % 10 for clip in clips]
    for epoch in range(3):
        assert sorted(clips[epoch * COUNT : (epoch + 1) * COUNT]) == list(range(COUNT))


@pytest.mark.parametrize("way", WAYS)
def test_the_same_on_any_number_of_ranks_and_micro_batches_and_from_anywhere(
    tmp_path: Path, way: str
) -> None:
    images, rule = write_clips(tmp_path / "set"), RULES["extra"]
    config = config_of(way, images)
    one = whole_batches(config, images, rule, 1, 0, EPOCHS)
    for ranks, accumulate in ((2, 1), (3, 1), (1, 3), (2, 2)):
        split = override(config, {"accumulate": accumulate})
        # From the middle of the second epoch, too.
        for first in (0, 13):
            found = whole_batches(split, images, rule, ranks, first, EPOCHS)
            for kind in ("images", "labels", "times"):
                alone = getattr(one, kind)[first * BATCH :]
                assert torch.equal(getattr(found, kind), alone), (ranks, accumulate, kind)


def test_sets_without_labels(tmp_path: Path) -> None:
    images = write_clips(tmp_path / "set", labels=False)
    for way in WAYS:
        config = config_of(way, images)
        source = opened(config, images, RULES["even"], World())
        (rows,) = delivered(source, config, 0, 1)
        assert rows.labels is None
        assert rows.times is not None


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The contents that the decoder is given."""
    seen, decode = [], decoder.decode

    def counting(content: bytes, **options: Any) -> decoder.Decoded:
        seen.append(content)
        return decode(content, **options)

    monkeypatch.setattr(decoder, "decode", counting)
    return seen


@pytest.mark.parametrize("kind", RULES)
def test_only_the_frames_that_are_asked_for_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    images, rule = write_clips(tmp_path / "set", encoded=True), RULES[kind]
    numbers = draws.uniforms(1, "frames", [range(20)], rule.numbers)
    # Rows that no sample of this process sees.
    numbers[[3, 7]] = 0
    seen = counted(monkeypatch)
    found = read_fragment(images, Fragment(0, 0, 5, 25, numbers.tobytes()), False, rule=rule)
    assert found.times is not None
    wanted = []
    for row in range(20):
        if row in (3, 7):
            assert not found.images[row].any()
            continue
        which = rule.choose(np.array([length_of(5 + row)]), numbers[[row]])[0]
        np.testing.assert_array_equal(found.times[row], which)
        wanted += [png(frame(5 + row, at)) for at in sorted(set(which.tolist()))]
    assert seen == wanted


def test_a_window_is_filled_with_no_other_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a process owns some of a window's rows only, as one of five does of two lanes."""
    images, rule = write_clips(tmp_path / "set", encoded=True), RULES["extra"]
    config = config_of("tiny windows", images)
    seen, asked = counted(monkeypatch), []

    def reader(parts: Iterable[Fragment]) -> Iterator[Pixels]:
        for part in parts:
            before = len(seen)
            piece = read_fragment(images, part, False, rule=rule)
            assert piece.times is not None
            assert piece.images.nbytes == (part.stop - part.start) * rule.shown * 6
            drawn = np.frombuffer(part.draws, np.float32).reshape(-1, rule.numbers)
            mine = drawn[:, 0] > 0
            asked.append((int(mine.sum()), len(mine)))
            wanted = sum(len(set(which)) for which in piece.times[mine].tolist())
            assert len(seen) - before == wanted
            yield piece

    source = opened(config, images, rule, World(2, 5), reader=reader)
    rows = delivered(source, config, 0, 8)
    # Its own samples, and those of windows that are read ahead, are half of their lanes at most.
    assert sum(len(part.images) for part in rows) <= sum(mine for mine, _ in asked)
    assert sum(mine for mine, _ in asked) <= sum(rows for _, rows in asked) / 2


def test_a_mirror_flips_all_frames_of_a_clip_alike(tmp_path: Path) -> None:
    images, rule = write_clips(tmp_path / "set"), RULES["sparse"]
    config = config_of("resident", images, **{"feed.mirror": True, "precision": "float64"})
    plain = override(config, {"feed.mirror": False})
    columns = {"frames": Column("frames"), "times": Column("times"), "label": Column("label")}

    def feed(config: RunConfig, world: World) -> Feed:
        return Feed(opened(config, images, rule, world), columns, {}, config, world)

    alone, original = feed(config, World()), feed(plain, World())
    ranks = [feed(config, World(rank, 3)) for rank in range(3)]
    turned = []
    for seen in range(0, 20 * BATCH, BATCH):
        whole, was = alone.batch(seen).columns, original.batch(seen).columns
        parts = [rank.batch(seen).columns for rank in ranks]
        for name in columns:
            assert torch.equal(whole[name], torch.cat([part[name] for part in parts]))
        assert whole["times"].dtype == torch.float64
        assert whole["frames"].shape == (BATCH, rule.shown, *SHAPE)
        flips = draws.uniforms(5, "mirror", [range(seen, seen + BATCH)], 1)[:, 0] > 0.5
        for row, flip in enumerate(flips):
            straight = was["frames"][row]
            assert torch.equal(whole["frames"][row], straight.flip(-1) if flip else straight)
        turned += flips.tolist()
    assert 0.3 < np.mean(turned) < 0.7


BAD = {(17, 3): b"junk", (41, 0): png(frame(0, 0))[:30], (42, 9): b""}
"""Clip 41 is the last of its row group, so that its stand-in is the group's first; clip 42 is the
only one of its group, and is left whole in tests that go on."""
STANDS = {17: 18, 41: 30}


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_clip_is_replaced_by_the_next_whole_one(tmp_path: Path, way: str) -> None:
    """In resident mode one with any damaged frame; in streaming where a sample asks for it."""
    bad = {place: content for place, content in BAD.items() if place[0] in STANDS}
    # Of which clip 29, too, which is the one before, is of a length that was not promised.
    images = write_clips(tmp_path / "set", encoded=True, damage=bad, lengths={16: 3})
    rule, config = RULES["even"], config_of(way, images)
    stands = {16: 18, **STANDS}
    said: list[str] = []
    damage = Damage(images, 3, Storage(str(tmp_path / "run")), note=said.append)
    source = opened(config, images, rule, World(), damage)
    rows = delivered(source, config, 0, EPOCHS)
    # What the same seed shows of the undamaged set, in the same order.
    sound = write_clips(tmp_path / "sound", encoded=True)
    originals = delivered(opened(config, sound, rule, World()), config, 0, EPOCHS)
    replaced = set()
    for number, (part, original) in enumerate(zip(rows, originals, strict=True)):
        assert part.times is not None
        for at in range(BATCH):
            sample, clip = number * BATCH + at, int(original.images[at, 0, 0, 0, 0])
            _, which = expected(sample, clip, rule)
            lost = clip == 16 or any((clip, frame_) in bad for frame_ in which.tolist())
            if way == "resident":
                lost = clip in stands
            shown = stands[clip] if lost else clip
            replaced |= {clip} if lost else set()
            frames, which = expected(sample, shown, rule)
            np.testing.assert_array_equal(part.images[at], frames)
            np.testing.assert_array_equal(part.times[at], which)
            assert part.labels is not None
            assert part.labels[at] == shown % 10
    assert 16 in replaced
    listed = Storage(str(tmp_path / "run")).path("bad-images.txt")
    lines = Path(listed).read_text().splitlines()
    assert sorted(lines) == sorted(images.locate(clip) for clip in replaced)
    assert len(said) == len(lines)
    assert said[0].startswith("passed over a damaged clip: ")


def test_damage_is_an_error_that_names_clip_and_frame(tmp_path: Path) -> None:
    images = write_clips(tmp_path / "set", encoded=True, damage={(17, 3): b"junk"})
    with pytest.raises(UserError, match=r"part-0.parquet, row 17: frame 3: not an image .*--skip"):
        read_whole_clips(images)
    rule = FrameRule(10)
    drawn = np.full((1, 1), 1e-6, np.float32).tobytes()
    with pytest.raises(UserError, match=r"part-0.parquet, row 17: frame 3: not an image .*--skip"):
        read_fragment(images, Fragment(0, 0, 17, 18, drawn), False, rule=rule)
    assert read_whole_clips(images, replace=True).shown[17] == 18
    alone = write_clips(tmp_path / "alone", encoded=True, damage={(42, 2): b"junk"})
    with pytest.raises(UserError, match="a row group without one whole clip"):
        read_whole_clips(alone, replace=True)
    short = write_clips(tmp_path / "short", lengths={60: 9})
    with pytest.raises(UserError, match=r"row 17: a clip of 9 frames, where .* 10 to 16"):
        read_whole_clips(short)
    assert short.clips is not None
    promised = shortened(images, short.clips._replace(frames=short.clips.frames - 50))
    with pytest.raises(UserError, match=r"more than the 1,2.. frames that its manifest"):
        read_whole_clips(promised, replace=True)


@pytest.mark.parametrize("encoded", [False, True], ids=["raw", "png"])
def test_any_clips_are_read_by_their_own_numbers(tmp_path: Path, encoded: bool) -> None:
    rule = FrameRule(3, stride=2)
    damage = {} if not encoded else {(17, at): b"junk" for at in range(length_of(17))}
    images = write_clips(tmp_path / "set", encoded=encoded, damage=damage)
    numbers = np.array([99, 0, 17, 42, 43, 5, 17, 3, 4])
    view = View(rule, 9, "evaluate-frames")
    frames, labels = read_clips(images, numbers, view)
    assert frames.shape == (9, 3, *SHAPE)
    assert labels is not None
    for at, number in enumerate(numbers):
        clip = 18 if number == 17 and encoded else int(number)
        drawn = draws.uniforms(9, "evaluate-frames", [range(number, number + 1)], rule.numbers)
        which = rule.choose(np.array([length_of(clip)]), drawn)[0]
        wanted = np.stack([frame(clip, one) for one in which])
        np.testing.assert_array_equal(frames[at].permute(0, 2, 3, 1), wanted)
        assert labels[at] == clip % 10
    with pytest.raises(UserError, match=r"shortest clip has 10 frames, and 11 are wanted"):
        read_clips(images, numbers, View(FrameRule(11), 0))


def test_a_model_is_shown_the_same_clips_at_every_call(tmp_path: Path) -> None:
    images, rule = write_clips(tmp_path / "set"), FrameRule(4)
    family: Any = SimpleNamespace(
        columns=lambda: {"frames": Column("frames"), "label": Column("label")},
        shown_rule=rule,
        labels=10,
    )
    settings = EvaluateSettings(seed=3)
    batch = shown_rows(images, None, settings, family, ["frames", "label"], 130)
    frames, labels = batch.columns["frames"], batch.columns["label"]
    assert (frames.shape, frames.dtype) == ((130, 4, *SHAPE), torch.float32)
    pixels = ((frames + 1) * 127.5).round().to(torch.uint8)
    clips = pixels[:, 0, 0, 0, 0].numpy().astype(np.int64)
    assert sorted(set(clips)) == list(range(COUNT))
    np.testing.assert_array_equal(labels, clips % 10)
    expected_frames, _ = read_clips(images, clips, View(rule, 3, "evaluate-frames"))
    assert torch.equal(pixels, expected_frames)
    again = shown_rows(images, None, settings, family, ["frames"], 130)
    assert torch.equal(again.columns["frames"], frames)


def test_the_way_of_feeding_goes_by_the_bytes_of_frames(tmp_path: Path) -> None:
    images, rule = write_clips(tmp_path / "set"), FrameRule(4)
    assert images.clips is not None
    total = sum(map(length_of, range(COUNT))) * 6
    assert images.bytes == images.clips.frames * 6 == total
    auto = config_of("resident", images, **{"feed.way": "auto"}).feed
    assert feed_mode.settle(auto, images, BATCH, total * 10, rule=rule).way == "resident"
    streamed = feed_mode.settle(auto, images, BATCH, total * 10 - 1, rule=rule)
    assert streamed.way == "streaming"
    said = feed_mode.describe(streamed, images, rule=rule)
    assert said.startswith("100 clips of 10 to 16 frames, of which 4 are read, streamed through")
    resident = feed_mode.settle(auto, images, BATCH, total * 10, rule=rule)
    assert feed_mode.describe(resident, images, rule=rule).startswith(
        "100 clips of 10 to 16 frames resident in memory, 0 MB"
    )


def test_a_checkpoint_knows_the_clips_of_its_run(tmp_path: Path) -> None:
    images = write_clips(tmp_path / "set")
    config = config_of("resident", images)
    saved = of_sets(images, None)
    check_same_sets(saved, config, images, None)
    assert images.clips is not None
    other = shortened(images, images.clips._replace(longest=17))
    with pytest.raises(UserError, match=r"of 10 to 17 frames, .* saw clips of 10 to 16"):
        check_same_sets(saved, config, other, None)
    del saved["clips"]
    with pytest.raises(UserError, match="but the run saw images; put that set back"):
        check_same_sets(saved, config, images, None)


@pytest.mark.ray
def test_ray_data_reads_the_same(cluster: str, tmp_path: Path) -> None:
    import ray

    from distgan.launch.ray.reader import read_on_ray, read_resident_on_ray

    rule = RULES["extra"]
    for encoded in (False, True):
        damage = {(17, at): b"junk" for at in range(9)} if encoded else {}
        folder = tmp_path / f"set-{encoded}"
        images = write_clips(folder, encoded=encoded, damage=damage)
        whole = ray.get(read_resident_on_ray(images, True, False))
        here = read_whole_clips(images, replace=True)
        for kind in ("frames", "lengths", "shown", "labels"):
            np.testing.assert_array_equal(getattr(whole, kind), getattr(here, kind))
        assert not whole.frames.flags.owndata
        config = config_of("streaming", images)

        def reader(parts: Iterable[Fragment], of: ImageSet = images) -> Iterator[Pixels]:
            return read_on_ray(of, parts, True, False, rule=rule)

        found = delivered(
            opened(config, images, rule, World(1, 2), Damage(images, 9), reader), config, 2, 9
        )
        alone = delivered(
            opened(config, images, rule, World(1, 2), Damage(images, 9)), config, 2, 9
        )
        for one, other in zip(found, alone, strict=True):
            for kind in ("images", "labels", "times"):
                assert torch.equal(getattr(one, kind), getattr(other, kind))
