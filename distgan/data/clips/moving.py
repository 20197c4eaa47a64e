"""Moving MNIST: digits that fly straight through a dark square and bounce off its walls.

Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs" (ICML 2015),
section 4.1 and its code: every digit starts at a uniform place in a uniform direction, moves by a
tenth of the way between the walls in each frame, stops at a wall for the rest of that frame and
turns back, and where digits overlap the brighter pixel is seen. The first frame is the one after
the first step. Their digits are those of MNIST's training set, here the 60,000 that come with the
package, taken in a random order that starts anew when it has gone through all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from distgan import draws
from distgan.config.shape import ImageShape
from distgan.data.clips.base import ClipItem
from distgan.data.sources.digits import training_digits

STEP = 0.1
"""Of the way between the walls, that a digit goes from one frame to the next."""
FRAMES = 20
FPS = 10.0
"""The paper names none; at this rate a digit crosses the picture in a second."""
COUNT = 10_000
"""Clips, unless another number is asked for: those of the published test set."""
_DIGIT = 28
_NUMBERS = 3
"""Uniform ones of a digit: where it starts, across and down, and its direction."""


class Moving(NamedTuple):
    """One of the sets.

    ``side`` is that of the picture and ``digit`` that of a digit, in pixels; ``digits`` is how many
    there are.
    """

    side: int
    digit: int
    digits: int

    @property
    def room(self) -> int:
        """Pixels between a digit at one wall and at the opposite one."""
        return self.side - self.digit

    @property
    def speed(self) -> float:
        """Pixels a frame, of every digit in every frame but those in which it meets a wall."""
        return STEP * self.room

    @property
    def classes(self) -> tuple[str, ...]:
        """Which digits are seen, in whatever order: "0" to "9", or "0+0", "0+1", to "9+9"."""
        kinds = combinations_with_replacement("0123456789", self.digits)
        return tuple("+".join(kind) for kind in kinds)


MOVING = {"moving-mnist": Moving(64, 28, 2), "moving-mnist-small": Moving(32, 14, 1)}
"""The published set by its name, and a small one to learn in minutes, whose digits are halved."""


class MovingDigits:
    """Clips that are made when they are read, and what is known of them.

    Clip number n depends on n and the seed alone, so a larger set begins with the clips of a
    smaller one, and any worker makes the same.

    Args:
        name: one of `MOVING`.
        digits: uint8 (n, 28, 28), with their labels, int64 (n,), 0 to 9. Where a set's are of half
            that side, each pixel is the rounded mean of four.
        count: how many clips there are.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        name: str,
        digits: NDArray[np.uint8],
        labels: NDArray[np.int64],
        count: int,
        seed: int,
    ) -> None:
        self.kind, self.count, self.rule = name, count, MOVING[name]
        self.classes, self.shape = self.rule.classes, ImageShape(1, self.rule.side, self.rule.side)
        self._digits, self._labels, self._seed = _reduced(digits, self.rule.digit), labels, seed

    def read(self, numbers: NDArray[np.int64]) -> Iterator[ClipItem]:
        """The clips of these numbers: 20 frames each, uint8 (side, side, 1)."""
        seen = self.positions(numbers), self.chosen(numbers), self.labels(numbers)
        for number, places, digits, label in zip(numbers.tolist(), *seen, strict=True):
            frames = list(self._shown(places, digits))
            yield ClipItem(frames, f"{self.kind}, clip {number}", int(label), FPS)

    def clip(self, number: int) -> NDArray[np.uint8]:
        """One clip: uint8 (20, side, side, 1)."""
        only = np.array([number], np.int64)
        return self._shown(self.positions(only)[0], self.chosen(only)[0])

    def _shown(self, places: NDArray[np.float64], digits: NDArray[np.int64]) -> NDArray[np.uint8]:
        side = self.rule.digit
        found = np.zeros((FRAMES, self.rule.side, self.rule.side, 1), np.uint8)
        # The published code cuts the fractions of pixels off.
        for frame, corners in zip(found, places.astype(np.int64).tolist(), strict=True):
            for digit, (x, y) in zip(digits.tolist(), corners, strict=True):
                seen = frame[y : y + side, x : x + side, 0]
                np.maximum(seen, self._digits[digit], out=seen)
        return found

    def positions(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Where digits are: of their upper left corners how far across and how far down.

        Returns:
            float64 (n, 20, digits, 2) in pixels, 0 to `Moving.room`, with their fractions. Frames
            show the whole part.
        """
        start = self._drawn(numbers).astype(np.float64)
        position = start[..., :2].copy()
        angle = 2 * np.pi * start[..., 2]
        step = STEP * np.stack([np.cos(angle), np.sin(angle)], -1)
        found = np.empty((len(numbers), FRAMES, *position.shape[1:]))
        for frame in range(FRAMES):
            position += step
            step[(position <= 0) | (position >= 1)] *= -1
            np.clip(position, 0, 1, out=position)
            found[:, frame] = position
        found *= self.rule.room
        return found

    def chosen(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which digits, by their number among all, the clips show: int64 (n, digits)."""
        turns = numbers[:, None] * self.rule.digits + np.arange(self.rule.digits)
        count = len(self._digits)
        found = np.empty_like(turns)
        for epoch in np.unique(turns // count).tolist():
            here = turns // count == epoch
            found[here] = _order(self._seed, self.kind, epoch, count)[turns[here] % count]
        return found

    def labels(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of clips, as `Moving.classes` names them: int64 (n,)."""
        seen = np.sort(self._labels[self.chosen(numbers)], 1)
        known = {name: label for label, name in enumerate(self.classes)}
        names = ["+".join(str(digit) for digit in each) for each in seen.tolist()]
        return np.array([known[name] for name in names], np.int64)

    def _drawn(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        parts = [range(number, number + 1) for number in numbers.tolist()]
        size = self.rule.digits * _NUMBERS
        found = draws.uniforms(self._seed, self.kind, parts, size)
        return found.reshape(len(numbers), self.rule.digits, _NUMBERS)


@lru_cache(maxsize=2)
def _order(seed: int, name: str, epoch: int, count: int) -> NDArray[np.int64]:
    """In which order digits have their turn: the same for all clips, each of which asks for it."""
    return draws.permutation(seed, f"{name} digits", epoch, count)


def _reduced(digits: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    if side == _DIGIT:
        return digits
    times = _DIGIT // side
    boxes = digits.reshape(-1, side, times, side, times).sum((2, 4), dtype=np.uint16)
    found: NDArray[np.uint8] = ((boxes + times * times // 2) // times**2).astype(np.uint8)
    return found


def open_moving(name: str, split: str, count: int | None, seed: int) -> MovingDigits:
    """A set of `MOVING`, made of the digits in the package.

    Args:
        count: number of clips; None for `COUNT`.

    Raises:
        UserError: for another split than train.
    """
    digits, labels = training_digits(name, split, "clips")
    return MovingDigits(name, digits, labels, COUNT if count is None else count, seed)
