"""The two sides of a run that learns from two sets, or from the halves of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from distgan.config.run import RunConfig
from distgan.data.images import ImageSet, open_images
from distgan.data.order import OTHER
from distgan.errors import UserError


class Sets(NamedTuple):
    """The opened sets of a run; ``other`` is the second, None for a run of one."""

    images: ImageSet
    other: ImageSet | None = None


@dataclass(frozen=True)
class Side:
    """Which images of a set feed a run's columns, and in which order.

    Args:
        numbers: of the images, consecutive.
        second: whether they are for the columns of the second set, in an order of its own.
    """

    numbers: range
    second: bool = False

    @property
    def suffix(self) -> str:
        """Of the names of streams of random numbers."""
        return OTHER if self.second else ""


def open_sets(config: RunConfig) -> Sets:
    """Open what a configuration learns from; reads only footers.

    Raises:
        UserError: for a set that cannot be opened, one set for both sides, or one without halves.
    """
    images = open_images(config.data)
    if config.halved and images.count < 2:
        raise UserError(
            f"--data {config.data}: holds one image, and {config.family} learns from two halves of "
            "the set here; give one of more images"
        )
    if not config.second_set:
        return Sets(images)
    other = open_images(config.second_set, "--data_b")
    if other.clips is not None:
        raise UserError(
            f"--data_b {config.second_set}: holds clips, and {config.family} learns from images; "
            "give a set of images"
        )
    if other.files == images.files and other.uri == images.uri:
        raise UserError(
            f"--data_b {config.second_set}: is the set that --data names too; give another one, or "
            "leave it out and have the halves of one set compared by a --task"
        )
    return Sets(images, other)


def halves(count: int) -> tuple[range, range]:
    """Numbers of the images of the two halves of a set; of an odd number the first has one more."""
    middle = (count + 1) // 2
    return range(middle), range(middle, count)
