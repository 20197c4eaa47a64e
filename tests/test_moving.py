"""Clips that are made: digits that move by the published rule, windows that move over images."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from numpy.typing import NDArray

from distgan import UserError, draws
from distgan.data.clips.moving import COUNT, MOVING, MovingDigits, open_moving
from distgan.data.fragments import read_resident
from distgan.data.images import open_images

NAMES = sorted(MOVING)
GEOMETRY = {"moving-mnist": (64, 28, 2), "moving-mnist-small": (32, 14, 1)}
"""Sides of the picture and of a digit, and how many digits."""


def set_of(name: str, count: int = 50, seed: int = 3) -> MovingDigits:
    return open_moving(name, "train", count, seed)


def published(
    digits: NDArray[np.uint8], numbers: list[tuple[float, float, float]], canvas: int
) -> list[list[list[int]]]:
    """Frames by the published program, one pixel at a time, and nothing of the package.

    Args:
        digits: uint8 (k, side, side).
        numbers: of each digit, in (0, 1]: across, down, and the share of a whole turn.
    """
    side = digits.shape[1]
    space = canvas - side
    moving = [[x, y, math.cos(2 * math.pi * t), math.sin(2 * math.pi * t)] for x, y, t in numbers]
    frames = []
    for _ in range(20):
        frame = [[0] * canvas for _ in range(canvas)]
        for digit, state in zip(digits.tolist(), moving, strict=True):
            state[0] += 0.1 * state[2]
            state[1] += 0.1 * state[3]
            for axis in (0, 1):
                if state[axis] <= 0:
                    state[axis] = 0.0
                    state[2 + axis] = -state[2 + axis]
                if state[axis] >= 1:
                    state[axis] = 1.0
                    state[2 + axis] = -state[2 + axis]
            left, top = int(space * state[0]), int(space * state[1])
            for row in range(side):
                for column in range(side):
                    here = frame[top + row]
                    here[left + column] = max(here[left + column], digit[row][column])
        frames.append(frame)
    return frames


def halved(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Each pixel the mean of four, halves upwards."""
    found = np.empty((14, 14), np.uint8)
    for row in range(14):
        for column in range(14):
            four = digit[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            found[row, column] = math.floor(four.astype(float).mean() + 0.5)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_clips_are_those_of_the_published_program(name: str) -> None:
    canvas, side, count = GEOMETRY[name]
    source = set_of(name)
    everything = read_resident(open_images("mnist")).images[..., 0]
    order = draws.permutation(3, f"{name} digits", 0, len(everything))
    for number in range(8):
        drawn = draws.uniforms(3, name, [range(number, number + 1)], 3 * count)[0]
        numbers = [tuple(map(float, drawn[3 * k : 3 * k + 3])) for k in range(count)]
        digits = everything[order[number * count : (number + 1) * count]]
        if side == 14:
            digits = np.stack([halved(digit) for digit in digits])
        expected = np.array(published(digits, numbers, canvas), np.uint8)  # type: ignore[arg-type]
        found = source.clip(number)
        assert found.shape == (20, canvas, canvas, 1)
        for frame in range(20):
            assert (found[frame, ..., 0] == expected[frame]).all(), (number, frame)


@pytest.mark.parametrize("name", NAMES)
def test_positions_are_where_the_light_is(name: str) -> None:
    """A digit alone, lit in every pixel, shows its corner."""
    canvas, side, count = GEOMETRY[name]
    white = np.full((10, 28, 28), 255, np.uint8)
    source = MovingDigits(name, white, np.arange(10), 20, seed=0)
    corners = source.positions(np.arange(20))
    assert corners.shape == (20, 20, count, 2)
    for number in range(20):
        frames = source.clip(number)[..., 0]
        for frame, places in zip(frames, corners[number], strict=True):
            expected = np.zeros((canvas, canvas), np.uint8)
            for x, y in places:
                expected[int(y) : int(y) + side, int(x) : int(x) + side] = 255
            assert (frame == expected).all()


@pytest.mark.parametrize(("name", "speed"), [("moving-mnist", 3.6), ("moving-mnist-small", 1.8)])
def test_digits_move_at_one_speed_and_turn_at_walls(name: str, speed: float) -> None:
    source = set_of(name)
    places = source.positions(np.arange(200))
    room = places.max()
    assert room == source.rule.room
    assert places.min() == 0
    steps = np.diff(places, axis=1)
    free = ((places > 0) & (places < room)).all(-1)
    # A step is whole where neither of its ends is cut off at a wall.
    whole = free[:, 1:]
    lengths = np.linalg.norm(steps, axis=-1)
    assert lengths[whole] == pytest.approx(speed)
    assert (lengths[~whole] <= speed + 1e-9).all()
    assert source.rule.speed == pytest.approx(speed)
    # From a wall it goes away from it, and no digit stays.
    for wall, sign in ((0, 1), (room, -1)):
        clip, frame, digit, axis = np.nonzero(places[:, :-1] == wall)
        assert len(clip) > 100
        assert (sign * steps[clip, frame, digit, axis] > 0).all()


def test_overlapping_digits_show_the_brighter_pixel() -> None:
    digits = np.stack([np.full((28, 28), value, np.uint8) for value in (100, 200)])
    source = MovingDigits("moving-mnist", digits, np.arange(2), 100, seed=0)
    counts = [np.unique(source.clip(number), return_counts=True) for number in range(100)]
    bright = [counted[values == 200].item() for values, counted in counts if 200 in values]
    # The digits of a clip are both of them, and the bright one is never covered.
    assert bright == [20 * 28 * 28] * 100
    dark = [counted[values == 100].sum() for values, counted in counts]
    assert min(dark) < 20 * 28 * 28


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_set_begins_like_a_smaller_one(name: str) -> None:
    small, large = set_of(name, 5), set_of(name, 500)
    assert (small.count, large.count) == (5, 500)
    # In one go, alone, in another process, out of order: the same.
    alone = pickle.loads(pickle.dumps(large))
    first = list(small.read(np.arange(5)))
    for number, item in enumerate(first):
        (other,) = alone.read(np.array([number]))
        assert np.array_equal(np.stack(item.frames), np.stack(other.frames))  # type: ignore[arg-type]
        assert (item.where, item.label, item.fps) == (f"{name}, clip {number}", other.label, 10)
        assert np.array_equal(np.stack(item.frames), alone.clip(number))  # type: ignore[arg-type]
    assert np.array_equal(large.positions(np.array([4, 77]))[1], small.positions(np.array([77]))[0])
    assert not np.array_equal(set_of(name, seed=4).clip(0), small.clip(0))


def test_labels_name_the_digits_in_whatever_order() -> None:
    source = set_of("moving-mnist")
    assert len(source.classes) == 55
    assert (source.classes[0], source.classes[1], source.classes[-1]) == ("0+0", "0+1", "9+9")
    digits = read_resident(open_images("mnist")).labels
    assert digits is not None
    numbers = np.arange(300)
    for pair, label in zip(source.chosen(numbers), source.labels(numbers), strict=True):
        one, other = sorted(digits[pair].tolist())
        assert source.classes[label] == f"{one}+{other}"
    assert set_of("moving-mnist-small").classes == tuple("0123456789")


def test_every_digit_has_its_turn_before_one_comes_again() -> None:
    digits = np.zeros((7, 28, 28), np.uint8)
    source = MovingDigits("moving-mnist", digits, np.arange(7), 100, seed=0)
    turns = source.chosen(np.arange(21)).ravel().reshape(6, 7)
    assert (np.sort(turns, 1) == np.arange(7)).all()
    assert len({tuple(turn) for turn in turns.tolist()}) > 1


@pytest.mark.parametrize("name", NAMES)
def test_another_split_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"--split test: .* --validation N"):
        open_moving(name, "test", None, 0)
    assert open_moving(name, "train", None, 0).count == COUNT
