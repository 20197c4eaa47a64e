"""The points of a search that are known before it begins, no two of them alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from distgan.errors import UserError
from distgan.tune.settings import TuneSettings
from distgan.tune.space import Point, Space

MOST_OF_A_GRID = 1_000
"""Points, beyond which it is a mistake."""

_VAIN = 100
"""Draws in a row that bring nothing new, after which the rest of a small space is listed."""


def given(space: Space, settings: TuneSettings) -> list[Point]:
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
    return points


def _drawn(space: Space, settings: TuneSettings) -> list[Point]:
    draws = (space.draw(settings.seed, number) for number in itertools.count(1))
    return list(itertools.islice(_new(space, draws, space.grid()), settings.samples - 1))


def _new(space: Space, *sources: Iterable[Point]) -> Iterator[Point]:
    """The points that are no configuration yet, the recipe's included.

    Of each source until it brings nothing new for long, or ends.
    """
    known = {space.key({})}
    for source in sources:
        vain = 0
        for point in source:
            key = space.key(point)
            vain = 0 if key not in known else vain + 1
            if key not in known:
                known.add(key)
                yield point
            elif vain > _VAIN:
                break
