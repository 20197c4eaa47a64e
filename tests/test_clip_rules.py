"""Which frames a sample sees, against the rules written out and against their distributions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from distgan import draws
from distgan.config.clip import FrameRule


def numbers_of(rule: FrameRule, count: int) -> np.ndarray:
    return draws.uniforms(3, "rule", [range(count)], rule.numbers)


def test_even_frames_start_anywhere_that_fits() -> None:
    rule = FrameRule(4, stride=3)
    assert (rule.shown, rule.shortest, rule.numbers) == (4, 10, 1)
    lengths = np.array([10, 12, 13] * 2000)
    found = rule.choose(lengths, numbers_of(rule, len(lengths)))
    assert (np.diff(found) == 3).all()
    for length, starts in ((10, 1), (12, 3), (13, 4)):
        counts = np.bincount(found[lengths == length, 0], minlength=starts)
        assert len(counts) == starts
        assert abs(counts - 2000 / starts).max() < 5 * np.sqrt(2000 / starts)


def test_the_ends_of_uniform_numbers_stay_within_the_clip() -> None:
    rule = FrameRule(3, span=8, extra=True)
    lengths = np.array([9, 9])
    for end in (np.float32(2.0**-25), np.float32(1)):
        found = rule.choose(lengths, np.full((2, rule.numbers), end, np.float32))
        assert found.min() >= 0
        assert found.max() <= 8


@pytest.mark.parametrize(("frames", "span"), [(3, 16), (5, 8), (2, 4)])
def test_sparse_frames_are_any_different_ones_within_a_power_of_two(frames: int, span: int) -> None:
    rule = FrameRule(frames, span=span)
    count = 30_000
    found = rule.choose(np.full(count, 40), numbers_of(rule, count))
    assert (np.diff(found) > 0).all()
    whole = found[:, -1] - found[:, 0]
    distances = [d for d in (1, 2, 4, 8, 16, 32) if frames - 1 <= d <= span]
    assert rule.shortest == max(distances) + 1
    for distance in distances:
        mine = found[whole == distance]
        assert abs(len(mine) - count / len(distances)) < 5 * np.sqrt(count)
        between = [tuple(row) for row in (mine[:, 1:-1] - mine[:, :1]).tolist()]
        possible = list(itertools.combinations(range(1, distance), frames - 2))
        expected = len(mine) / len(possible)
        for each in possible:
            assert abs(between.count(each) - expected) < 6 * np.sqrt(expected)


def test_an_extra_frame_is_any_of_the_clip() -> None:
    rule = FrameRule(2, extra=True)
    found = rule.choose(np.full(20_000, 5), numbers_of(rule, 20_000))
    assert rule.shown == 3
    counts = np.bincount(found[:, 2], minlength=5)
    assert abs(counts - 4000).max() < 5 * np.sqrt(4000)
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.03


def test_a_span_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no 6 frames"):
        FrameRule(6, span=4)
