"""What is told of motion: against closed forms, scipy and the known paths of moving digits."""

from __future__ import annotations

from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import wasserstein_distance
from torch import Tensor

from distgan.data.clips.moving import MOVING, MovingDigits, open_moving
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.features import load
from distgan.features.motion import motion_extractor, trained, windows_of
from distgan.features.motion_task import KINDS, TOLD, moving_clips
from distgan.features.moving_digits import READ, keep, kept, read
from distgan.features.spoiled import SPOILINGS, Judge, frozen, mixed, real_sides, shuffled
from distgan.features.train_motion import measure, train
from distgan.metrics import motion


@pytest.fixture(scope="module")
def small() -> MovingDigits:
    return open_moving("moving-mnist-small", "train", 60, 5)


def clips_of(source: MovingDigits, count: int) -> Tensor:
    clips = np.stack([source.clip(number)[:16] for number in range(count)])
    return torch.from_numpy(clips).permute(0, 1, 4, 2, 3)


@pytest.mark.parametrize(("one", "other"), [(50, 50), (50, 31), (1, 7)])
def test_wasserstein_is_that_of_scipy(one: int, other: int) -> None:
    draw = np.random.default_rng(one)
    # With ties, within and between the samples.
    sides = [draw.normal(0, 3, one).round(), draw.normal(1, 2, other).round()]
    found = motion.wasserstein(*map(torch.from_numpy, sides))
    assert found == pytest.approx(wasserstein_distance(*sides), rel=1e-12)


def test_wasserstein_of_a_shift_is_the_shift() -> None:
    sample = torch.rand(40, dtype=torch.float64)
    assert motion.wasserstein(sample, sample + 0.25) == pytest.approx(0.25, rel=1e-12)
    assert motion.wasserstein(sample, sample.flip(0)) == 0


def test_the_error_of_wasserstein_is_about_its_deviation_over_samples() -> None:
    draw = torch.Generator().manual_seed(0)
    # Numbers of one clip are nearly the same, so that clips count rather than numbers.
    sides = [
        (
            torch.randn(100, 1, generator=draw) + 0.01 * torch.randn(100, 5, generator=draw),
            torch.randn(80, 1, generator=draw) + 2 + 0.01 * torch.randn(80, 5, generator=draw),
        )
        for _ in range(60)
    ]
    values = [motion.wasserstein(one.flatten(), other.flatten()) for one, other in sides]
    errors = [motion.wasserstein_spread(*each).error for each in sides]
    # Of a shift it is the difference of the means: deviation sqrt(1 / 100 + 1 / 80).
    assert np.std(values) == pytest.approx((1 / 100 + 1 / 80) ** 0.5, rel=0.3)
    assert np.mean(errors) == pytest.approx((1 / 100 + 1 / 80) ** 0.5, rel=0.3)


def test_the_error_of_few_clips_is_unknown_or_known() -> None:
    few = torch.rand(3, 4, dtype=torch.float64)
    assert motion.wasserstein_spread(few, few + 1).error >= 0
    assert np.isnan(motion.wasserstein_spread(few[:1], few).error)


def test_frame_differences_of_blocks() -> None:
    clips = torch.zeros(2, 3, 1, 4, 4, dtype=torch.uint8)
    clips[0, 1, :, :2] = 51
    clips[0, 2, :, :2] = 255
    expected = [[0.5 * 51 / 255, 0.5 * 204 / 255], [0, 0]]
    torch.testing.assert_close(
        motion.frame_differences(clips), torch.tensor(expected, dtype=torch.float64)
    )


def test_centroids_are_centres_of_what_is_bright() -> None:
    frames = torch.zeros(4, 3, 9, 11, dtype=torch.uint8)
    frames[0, :, 2, 7] = 255
    # Two thirds of the light at (1, 8), the rest at (4, 2), above the darkness.
    frames[1, :, 8, 1] = motion.DARK + 100
    frames[1, :, 2, 4] = motion.DARK + 50
    # As dark as nothing.
    frames[2] = motion.DARK
    # In one colour, whose mean over channels counts.
    frames[3, 1, 6, 3] = 255
    found = motion.centroids(frames)
    expected = torch.tensor([[7, 2], [2, 6], [5, 4], [3, 6]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_speeds_of_a_digit_are_those_of_its_known_path(small: MovingDigits) -> None:
    path = small.positions(np.arange(60))[:, :16, 0]
    # Digits are drawn at whole pixels; the mean over time shows the speed of 1.8 all the same.
    steps = np.diff(np.floor(path), axis=1)
    found = motion.speeds(clips_of(small, 60)).numpy()
    np.testing.assert_allclose(found, np.linalg.norm(steps, axis=-1), atol=1e-9)
    assert found.mean() == pytest.approx(MOVING["moving-mnist-small"].speed, rel=0.1)


@pytest.mark.parametrize("frames", [2, 3, 9, 16, 17, 20, 32, 33, 100])
def test_windows_cover_a_clip_without_jumps(frames: int) -> None:
    found = windows_of(frames)
    assert found.shape == (-(-frames // 16), 16)
    assert (found.diff(dim=1).abs() == 1).all()
    assert (found.diff(dim=1) == 1).all() == (frames >= 16)
    assert set(found.flatten().tolist()) == set(range(frames))


def test_a_single_frame_has_no_motion() -> None:
    with pytest.raises(ValueError, match="nothing moves"):
        windows_of(1)


def test_the_network_is_small_and_takes_clips_of_any_kind(small: MovingDigits) -> None:
    file = resources.files("distgan.features") / "weights" / "motion.safetensors"
    assert len(file.read_bytes()) < 2_000_000
    extractor = motion_extractor()
    clips = clips_of(small, 4)
    found = extractor(clips).features
    assert (found.shape, found.dtype) == ((4, 64), torch.float32)
    # Colours count by their mean, and each clip by itself.
    colours = torch.cat([clips, clips, clips], 2)
    torch.testing.assert_close(extractor(colours).features, found, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor(clips[2:3]).features, found[2:3], rtol=1e-4, atol=1e-4)
    # Of two windows the mean.
    twice = torch.cat([clips, clips.flip(1)], 1)
    halves = (found + extractor(clips.flip(1)).features) / 2
    torch.testing.assert_close(extractor(twice).features, halves, rtol=1e-4, atol=1e-4)


def test_large_frames_are_resized_as_pillow_does_it(small: MovingDigits) -> None:
    large = clips_of(small, 2).repeat_interleave(2, 3).repeat_interleave(3, 4)
    resized = [
        np.asarray(
            Image.fromarray(frame.numpy().astype(np.float32)).resize((32, 32), Image.BILINEAR)
        )
        for frame in large.flatten(0, 2)
    ]
    prepared = torch.from_numpy(np.stack(resized)).view(2, 16, 32, 32) * (2 / 255) - 1
    with torch.no_grad():
        expected = trained().eval()(prepared)[0]
    torch.testing.assert_close(motion_extractor()(large).features, expected, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    return torch.from_numpy(read_resident(open_images("mnist")).images[..., 0])


def test_clips_of_the_task_are_what_is_told_of_them(digits: Tensor) -> None:
    found = moving_clips(digits, 400, torch.Generator().manual_seed(0))
    assert found.clips.shape == (400, 16, 32, 32)
    assert found.clips.abs().max() <= 1
    assert found.told.shape == (400, len(TOLD))
    assert found.kinds.unique().tolist() == list(range(len(KINDS)))
    strengths = found.told[:, -len(KINDS) + 1 :]
    for number, kind in enumerate(KINDS[1:], 1):
        mine = found.kinds == number
        assert (strengths[mine, number - 1] > 0).all(), kind
        assert (strengths[~mine, number - 1] == 0).all(), kind
    # Frozen clips repeat frames, plain ones of moving things do not.
    still = (found.clips[:, 1:] == found.clips[:, :-1]).flatten(2).all(2).sum(1)
    frozen_ones = found.kinds == KINDS.index("frozen")
    assert still[frozen_ones].double().mean() > 3
    plain = (found.kinds == 0) & (found.told[:, TOLD.index("speed")] > 0.5)
    assert still[plain].double().mean() < 1


def test_the_shipped_network_tells_the_motion_of_digits_it_never_saw(digits: Tensor) -> None:
    found = measure(trained(), digits[50_000:], 300, seed=7)
    assert found["speed"] > 0.6
    for name in ("across at first", "down at first", "across at last", "down at last"):
        assert found[name] > 0.5, name
    assert found["kind"] > 3 / len(KINDS)


@pytest.mark.slow
def test_training_gives_the_same_weights_again(digits: Tensor) -> None:
    one, other = (train(digits[:100], 2, 3).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_rule_of_kept_digits() -> None:
    read_in = torch.tensor(
        [
            [3] * 10,
            [3] * 9 + [5],
            [3] * 8 + [5] * 2,
            [3] * 5 + [-1] * 5,
            [3] * 4 + [-1] * 6,
            [-1] * 10,
        ]
    )
    assert kept(read_in, 0.5).tolist() == [True, True, False, True, False, False]
    assert kept(torch.tensor([[0, -1, -1], [7, 7, -1]]), 0.1).tolist() == [False, True]


@pytest.mark.parametrize("name", sorted(MOVING))
def test_digits_are_read_rightly_and_kept_until_they_change(name: str) -> None:
    source, count = open_moving(name, "train", 24, 1), MOVING[name].digits
    clips = clips_of(source, 24)
    classifier = load("mnist")
    found = read(clips, count, classifier)
    labels = source.labels(np.arange(24)).tolist()
    wanted = torch.tensor([int(source.classes[label].replace("+", "")) for label in labels])
    known = found >= 0
    assert known.double().mean() > {1: 0.85, 2: 0.25}[count]
    assert (found == wanted[:, None])[known].double().mean() > 0.97
    assert kept(found, READ[count]).double().mean() > {1: 0.85, 2: 0.5}[count]
    # Another clip from the middle on, and darkness.
    changed = torch.cat([clips[:, :8], clips.roll(1, 0)[:, 8:]], 1)
    assert keep(changed, count, classifier).mean() < 0.5
    assert keep(torch.zeros_like(clips), count, classifier).sum() == 0


def test_spoiled_clips_have_the_frames_of_real_ones(small: MovingDigits) -> None:
    clips = clips_of(small, 20)
    kept_clips = clips.clone()
    draw = torch.Generator().manual_seed(0)

    def in_order(frames: Tensor) -> list[bytes]:
        return sorted(frame.numpy().tobytes() for frame in frames)

    for clip, found in zip(clips, shuffled(clips, 1, draw), strict=True):
        assert in_order(clip) == in_order(found)
    for clip, found in zip(clips, frozen(clips, 0.5, draw), strict=True):
        assert set(in_order(found)) <= set(in_order(clip))
        assert (found[1:] == found[:-1]).flatten(1).all(1).sum() >= 7
    found = mixed(clips, 1, draw)
    for time in range(16):
        assert in_order(clips[:, time]) == in_order(found[:, time])
    assert torch.equal(clips, kept_clips)


@pytest.mark.slow
def test_metrics_of_motion_rank_spoiled_clips_where_frames_say_nothing() -> None:
    real, other = real_sides("moving-mnist-small", 250, seed=2)
    judge = Judge(real, 1)
    plain = judge(other)
    for name, (spoil, strengths) in SPOILINGS.items():
        found = [
            judge(spoil(other, strength, torch.Generator().manual_seed(0)))
            for strength in strengths
        ]
        distances = [plain.clip_frechet, *(each.clip_frechet for each in found)]
        assert distances == sorted(distances), name
        assert distances[-1] > 5 * plain.clip_frechet, name
        if name != "noisy":
            frames = [each.frame_frechet for each in found]
            assert max(frames) < 1.5 * plain.frame_frechet, name
        differences = [plain.difference_distance, *(each.difference_distance for each in found)]
        assert differences == sorted(differences), name
