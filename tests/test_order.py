"""The order of the data: the same for any number of workers, in both ways, and on resuming."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.fragments import Fragment, read_in_order, read_resident
from distgan.data.images import ImageSet, open_images
from distgan.data.order import StreamedOrder
from distgan.data.pixels import Pixels
from distgan.data.rows import open_rows
from distgan.parallel import World
from distgan.recipes import recipe
from tests.numbered import numbers_of, write_numbered
from tests.ranks import on_ranks

from .steps import feed_of

FILES = [[100, 40, 7], [64, 64, 64, 1], [160]]
COUNT = 500
BATCH = 24
THREE_EPOCHS = 3 * COUNT // BATCH + 1

WAYS = {
    "resident": {"feed.way": "resident"},
    "streaming": {"feed.way": "streaming", "feed.window": 130, "feed.lanes": 4},
    "one window": {"feed.way": "streaming", "feed.window": 500, "feed.lanes": 5},
    "tiny windows": {"feed.way": "streaming", "feed.window": 24, "feed.lanes": 7},
}


def configure(way: str, data: str) -> RunConfig:
    changes = {"data": data, "batch": BATCH, "images": THREE_EPOCHS * BATCH, **WAYS[way]}
    return override(recipe("mnist-mlp-tutorial"), changes)


def delivered(
    world: World, config: RunConfig, first_batch: int, batches: int
) -> list[tuple[list[int], list[int]]]:
    """Numbers of the images, and their labels, in this rank's part of some micro-batches."""
    images = open_images(config.data)
    rows = open_rows(
        config,
        images,
        world,
        resident=lambda: read_resident(images),
        reader=lambda fragments: read_in_order(images, fragments, False),
        damage=Damage(images, 0),
    )
    found = []
    for batch in range(first_batch, first_batch + batches):
        part, labels, *_ = rows.batch(batch * config.micro_batch)
        assert labels is not None
        found.append((numbers_of(part).tolist(), labels.tolist()))
    rows.close()
    return found


def together(ranks: list[list[tuple[list[int], list[int]]]]) -> list[list[int]]:
    """Whole batches from the parts of all ranks; every label is seen to fit its image."""
    whole = []
    for parts in zip(*ranks, strict=True):
        numbers = [n for part, _ in parts for n in part]
        assert [n % 10 for n in numbers] == [label for _, part in parts for label in part]
        whole.append(numbers)
    return whole


Jobs = list[tuple[RunConfig, int, int]]


def delivered_all(world: World, jobs: Jobs) -> list[list[tuple[list[int], list[int]]]]:
    return [delivered(world, *job) for job in jobs]


@pytest.mark.slow
def test_the_same_order_on_one_two_and_three_processes_and_after_a_resume(tmp_path: Path) -> None:
    data = write_numbered(tmp_path / "set", FILES)
    configs = [configure(way, data) for way in WAYS]
    # On 3 processes also as resumed after 29 batches, in the middle of the second epoch.
    whole: Jobs = [(config, 0, THREE_EPOCHS) for config in configs]
    resumed: Jobs = [(config, 29, THREE_EPOCHS - 29) for config in configs]
    on_two = on_ranks(2, delivered_all, tmp_path, whole)
    on_three = on_ranks(3, delivered_all, tmp_path, whole + resumed)
    for number, config in enumerate(configs):
        one = together([delivered(World(), config, 0, THREE_EPOCHS)])
        assert together([rank[number] for rank in on_two]) == one
        assert together([rank[number] for rank in on_three]) == one
        assert together([rank[len(configs) + number] for rank in on_three]) == one[29:]
        samples = list(itertools.chain.from_iterable(one))
        epochs = [samples[COUNT * e : COUNT * (e + 1)] for e in range(3)]
        for epoch in epochs:
            assert sorted(epoch) == list(range(COUNT))
        assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("way", WAYS)
def test_micro_batches_are_slices_of_the_same_batches(tmp_path: Path, way: str) -> None:
    """For any number of them, on any rank of three, and after a resume."""
    config = configure(way, write_numbered(tmp_path / "set", FILES))
    whole = together([delivered(World(), config, 0, THREE_EPOCHS)])
    for accumulate in (2, 3, 4):
        micro = BATCH // accumulate
        split = override(config, {"accumulate": accumulate})
        parts = [
            delivered(World(rank, 3), split, 0, THREE_EPOCHS * accumulate) for rank in (0, 1, 2)
        ]
        found = together(parts)
        assert all(len(part) == micro for part in found)
        assert list(itertools.chain(*found)) == list(itertools.chain(*whole))
        resumed = delivered(World(2, 3), split, 29 * accumulate, 5)
        assert resumed == parts[2][29 * accumulate :][:5]


def test_a_rank_of_micro_batches_reads_no_other_lanes_than_its_own() -> None:
    order = StreamedOrder(5, (50, 70, 30, 90, 60), batch=32, window=128, lanes=8)
    for sample in (0, 128, 256):
        parts = []
        for rank in range(2):
            share = World(rank, 2).share(16)
            parts.append(order.window(sample, [share, slice(16 + share.start, 16 + share.stop)]))
        assert sum(part.size for part in parts) == parts[0].stop - parts[0].start
        for part in parts:
            assert len(np.unique(part.rows)) == len(part.rows) == part.size


def test_images_of_a_batch_come_from_all_over_the_window() -> None:
    """With 8 lanes over 8 row groups of a window, a batch has its share of each group."""
    order = StreamedOrder(0, (64,) * 32, batch=64, window=512, lanes=8)
    window = order.window(0, [slice(0, 64)])
    groups = np.repeat([place for place, start, stop in window.places], 64)
    for first in range(0, 512, 64):
        rows = window.rows[first : first + 64]
        assert np.bincount(groups[rows]).max() == 8


def test_a_rank_reads_its_own_lanes_only() -> None:
    """Four ranks of eight lanes read every row of a window once between them."""
    order = StreamedOrder(5, (50, 70, 30, 90, 60), batch=32, window=128, lanes=8)
    for sample in (0, 128, 256):
        parts = [order.window(sample, [World(rank, 4).share(32)]) for rank in range(4)]
        assert sum(part.size for part in parts) == parts[0].stop - parts[0].start
        assert len(np.unique(np.concatenate([part.samples for part in parts]))) == sum(
            part.size for part in parts
        )


def test_a_window_mixes() -> None:
    """Neighbours in a streamed epoch are as far apart as in a shuffled window: the mean
    distance of two draws from n is n/3, from a lane's run here at least half of that."""
    order = StreamedOrder(1, (100,) * 40, batch=50, window=2000, lanes=5)
    window = order.window(0, [slice(0, 50)])
    distance = np.abs(np.diff(window.rows)).mean()
    assert distance > 2000 / 5 / 3 / 2


@pytest.mark.ray
def test_ray_data_reads_the_same_order(cluster: str, tmp_path: Path) -> None:
    from distgan.launch.ray.reader import read_on_ray

    config = configure("streaming", write_numbered(tmp_path / "set", FILES))
    images = open_images(config.data)

    def read(fragments: Iterable[Fragment]) -> Iterator[Pixels]:
        return read_on_ray(images, itertools.islice(fragments, 40), False, False)

    expected = [numbers for numbers, _ in delivered(World(), config, 3, 12)]
    rows = open_rows(
        config,
        images,
        World(),
        resident=partial(read_resident, images),
        reader=read,
        damage=Damage(images, 0),
    )
    found = [numbers_of(rows.batch(batch * BATCH)[0]).tolist() for batch in range(3, 15)]
    rows.close()
    assert found == expected


def test_a_reader_may_cut_its_pieces_anywhere(tmp_path: Path) -> None:
    config = configure("streaming", write_numbered(tmp_path / "set", FILES))
    images = open_images(config.data)

    def in_sevens(fragments: Iterable[Fragment]) -> Iterator[Pixels]:
        for piece in read_in_order(images, fragments, False):
            for at in range(0, len(piece.images), 7):
                cut = slice(at, at + 7)
                labels = None if piece.labels is None else piece.labels[cut]
                yield Pixels(piece.images[cut], labels, piece.replaced[cut])

    rows = open_rows(
        config,
        images,
        World(),
        resident=partial(read_resident, images),
        reader=in_sevens,
        damage=Damage(images, 0),
    )
    found = [numbers_of(rows.batch(batch * BATCH)[0]).tolist() for batch in range(30)]
    rows.close()
    assert found == [numbers for numbers, _ in delivered(World(), config, 0, 30)]


def test_mirror_flips_about_half_by_the_sample(tmp_path: Path) -> None:
    from distgan.data.feed import Feed

    data = write_numbered(tmp_path / "set", FILES)
    config = override(configure("resident", data), {"feed.mirror": True, "precision": "float64"})
    plain = override(config, {"feed.mirror": False})
    images: ImageSet = open_images(data)

    def feed(config: RunConfig, rank: int, size: int) -> Feed:
        world = World(rank, size)
        return feed_of(
            open_rows(
                config,
                images,
                world,
                resident=lambda: read_resident(images),
                reader=lambda fragments: iter(()),
                damage=Damage(images, 0),
            ),
            config,
            images.shape,
            world,
        )

    flipped = 0
    alone, unmirrored = feed(config, 0, 1), feed(plain, 0, 1)
    ranks = [feed(config, rank, 3) for rank in range(3)]
    for seen in range(0, 20 * BATCH, BATCH):
        whole = alone.batch(seen).columns["image"]
        original = unmirrored.batch(seen).columns["image"]
        parts = torch.cat([rank.batch(seen).columns["image"] for rank in ranks])
        assert torch.equal(whole, parts)
        same = (whole == original).flatten(1).all(1)
        turned = (whole == original.flip(3)).flatten(1).all(1)
        assert bool((same | turned).all())
        flipped += int((~same).sum())
    # Standard deviation of 480 fair coins is 11.
    assert abs(flipped - 240) < 55
