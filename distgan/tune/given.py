"""The points of a search that are known before it begins, no two of them alike."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator

from distgan.errors import UserError
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Point, Space

MOST_OF_A_GRID = 1_000
"""Points, beyond which it is a mistake."""

_VAIN = 100
"""Draws in a row that bring nothing new, after which the rest of a small space is listed."""
_MOST_LISTED = 1_000_000


@functools.lru_cache(maxsize=4)
def given(space: Space, settings: TuneSettings) -> tuple[Point, ...]:
    """The points that are known before a search begins; the first is the recipe as it is.

    A space that holds fewer different configurations than ``settings.samples`` gives fewer.

    Raises:
        UserError: for a grid that nobody means, or a point that is no configuration.
    """
    if settings.scheduler == "pbt":
        # Every member needs a value for what will be perturbed.
        points = [space.home(), *_drawn(space, settings)]
    elif settings.search == "random":
        points = [{}, *_drawn(space, settings)]
    elif settings.search == "grid":
        size = space.grid_size()
        if size > MOST_OF_A_GRID:
            raise UserError(
                f"--search grid: has {size:,} points in {len(space.free)} settings; name fewer by "
                "--space, or use --search random"
            )
        points = [{}, *_new(space, space.grid())]
    else:
        # Of those that will be asked for, some like them.
        space.check(space.draw(settings.seed, number) for number in range(1, settings.samples))
        points = [{}]
    space.check(points)
    return tuple(points)


def _drawn(space: Space, settings: TuneSettings) -> list[Point]:
    draws = (space.draw(settings.seed, number) for number in itertools.count(1))
    found = list(itertools.islice(_new(space, draws, vain=_VAIN), settings.samples - 1))
    if len(found) < settings.samples - 1:
        rest = _new(space, itertools.islice(space.everything(), _MOST_LISTED), found)
        found += itertools.islice(rest, settings.samples - 1 - len(found))
    return found


def _new(
    space: Space, points: Iterable[Point], known: Iterable[Point] = (), vain: float = math.inf
) -> Iterator[Point]:
    """The points that are no configuration yet, nor the recipe's.

    Args:
        known: points that there are.
        vain: after how many in a row that are known to look no further.
    """
    keys, left = {space.key({}), *map(space.key, known)}, vain
    for point in points:
        key = space.key(point)
        if key not in keys:
            keys.add(key)
            left = vain
            yield point
        elif (left := left - 1) < 0:
            return
