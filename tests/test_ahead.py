"""Batches made ahead are those that are asked for, in whatever order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from distgan.data.prefetch import PrefetchBuffer
from distgan.parallel import World

BATCH = 6


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (1, 2), (0, 4), (3, 4)])
def test_what_is_made_is_this_ranks_part_of_the_batch_that_was_asked_for(
    rank: int, size: int
) -> None:
    made: list[int] = []

    def make(parts: Sequence[range]) -> Sequence[range]:
        made.append(len(parts))
        return parts

    world = World(rank=rank, size=size)
    part = world.share(BATCH)
    ahead = PrefetchBuffer(make, BATCH, world, size=2, at_once=24)
    # In turn, again, back, from the middle of a batch as after resuming with another size.
    for first in (0, 6, 12, 18, 18, 6, 15, 21, 27, 0, 600):
        assert ahead.batch(first) == range(first + part.start, first + part.stop)
    samples = part.stop - part.start
    assert set(made) == {24 // (2 * samples)}


def test_batches_larger_than_what_may_be_made_ahead_come_one_by_one() -> None:
    made: list[int] = []

    def make(parts: Sequence[range]) -> Sequence[range]:
        made.append(len(parts))
        return parts

    ahead = PrefetchBuffer(make, BATCH, World(), size=100, at_once=24)
    assert [ahead.batch(n * BATCH)[0] for n in range(3)] == [0, 6, 12]
    assert made == [1, 1, 1]
