"""Latents and order: functions of the sample's number, with the right distribution."""

from __future__ import annotations

import numpy as np
import pytest

from distgan import draws
from distgan.data.order import ShuffledOrder
from distgan.parallel import World


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_a_sample_does_not_depend_on_what_is_drawn_with_it(size: int) -> None:
    whole = draws.normals(3, "latent", [range(50)], size)
    assert whole.shape == (50, size)
    for first, count in [(0, 1), (17, 5), (49, 1)]:
        part = draws.normals(3, "latent", [range(first, first + count)], size)
        np.testing.assert_array_equal(part, whole[first : first + count])


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_ranks_draw_what_one_process_would(workers: int) -> None:
    whole = draws.normals(0, "latent", [range(256, 384)], 10)
    shares = [World(rank, workers).share(128) for rank in range(workers)]
    parts = [draws.normals(0, "latent", [range(256 + s.start, 256 + s.stop)], 10) for s in shares]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_normal_by_its_moments_and_quantiles() -> None:
    z = draws.normals(1, "latent", [range(20_000)], 50).astype(np.float64).ravel()
    n = len(z)
    # Standard errors of the first four moments of n normals are sqrt(1, 2, 15, 96) / sqrt(n).
    for power, expected, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((z**power).mean() - expected) < 5 * (variance / n) ** 0.5
    for quantile, point in [(0.025, -1.959964), (0.5, 0.0), (0.84134475, 1.0)]:
        assert abs((z < point).mean() - quantile) < 5 * (0.25 / n) ** 0.5


def test_streams_seeds_and_neighbours_are_uncorrelated() -> None:
    draw = [
        draws.normals(0, "latent", [range(5_000)], 20),
        draws.normals(1, "latent", [range(5_000)], 20),
        draws.normals(0, "generator", [range(5_000)], 20),
        draws.normals(0, "latent", [range(5_000, 10_000)], 20),
    ]
    correlation = np.corrcoef([d.ravel() for d in draw])
    assert np.abs(correlation - np.eye(4)).max() < 5 / 100_000**0.5
    within = np.corrcoef(draw[0].T)
    assert np.abs(within - np.eye(20)).max() < 5 / 5_000**0.5


def test_an_epoch_shows_every_image_once_and_the_tail_goes_on() -> None:
    order = ShuffledOrder(seed=4, count=10)
    batches = [order.images(first, 4) for first in range(0, 40, 4)]
    seen = np.concatenate(batches)
    for epoch in range(4):
        assert sorted(seen[10 * epoch : 10 * epoch + 10]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:20])


def test_order_can_be_entered_anywhere() -> None:
    whole = ShuffledOrder(seed=4, count=10).images(0, 35)
    for first, count in [(0, 35), (9, 2), (23, 12), (30, 1)]:
        np.testing.assert_array_equal(
            ShuffledOrder(4, 10).images(first, count), whole[first : first + count]
        )


def test_seeds_give_different_orders() -> None:
    assert list(ShuffledOrder(0, 100).images(0, 100)) != list(ShuffledOrder(1, 100).images(0, 100))


def test_shares_cover_the_batch_and_weights_average_to_it() -> None:
    for batch in (1, 7, 128):
        for size in range(1, min(batch, 6) + 1):
            worlds = [World(rank, size) for rank in range(size)]
            numbers = [n for world in worlds for n in range(batch)[world.share(batch)]]
            assert numbers == list(range(batch))
            assert sum(world.weight(batch) for world in worlds) == pytest.approx(size)
