"""Runs that learn from two sets, or two halves of one: the order of each, and what is drawn."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from distgan import draws
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.fragments import read_in_order, read_resident
from distgan.data.images import ImageSet, open_images, pixel_schema
from distgan.data.rows import Access, open_sides
from distgan.data.sides import Sets, halves, open_sets
from distgan.errors import UserError
from distgan.families import Column
from distgan.parallel import World
from distgan.recipes import recipe

from .numbered import numbers_of, write_numbered
from .two_sets import two_sets

__all__ = ["two_sets"]
pytestmark = pytest.mark.usefixtures("two_sets")

A, B = [[100, 40, 7], [64, 64, 1], [160]], [[90], [33, 64, 64, 50]]
COUNT_A, COUNT_B, BATCH, SEED = 436, 301, 24, 3
BATCHES = 2 * COUNT_A // BATCH + 2
WAYS: dict[str, dict[str, Any]] = {
    "resident": {"feed.way": "resident"},
    "streaming": {"feed.way": "streaming", "feed.window": 130, "feed.lanes": 4},
    "one window": {"feed.way": "streaming", "feed.window": 500, "feed.lanes": 5},
}
COLUMNS = {
    "image": Column("image"),
    "other": Column("image", second=True),
    "label": Column("label"),
    "other label": Column("label", second=True),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("sets")
    return write_numbered(folder / "A", A), write_numbered(folder / "B", B)


def configure(way: str, places: tuple[str, str], **changes: Any) -> RunConfig:
    sets = {"data": places[0], "data_b": places[1], "seed": SEED, "precision": "float64"}
    sizes = {"batch": BATCH, "images": BATCHES * BATCH, **WAYS[way]}
    return override(recipe("two-sets"), {**sets, **sizes, **changes})


def feed_of(config: RunConfig, world: World, sets: Sets | None = None) -> Feed:
    images, other = sets or open_sets(config)

    def access(of: ImageSet, pairs: bool) -> Access:
        return Access(
            lambda: read_resident(of), lambda fragments: read_in_order(of, fragments, False)
        )

    damage = Damage(images, 0, other=other)
    rows, others = open_sides(config, images, other, world, access, damage, pairs=False)
    columns = {n: c for n, c in COLUMNS.items() if others is not None or not c.second}
    return Feed(rows, columns, {}, config, world, others)


def stored(images: Tensor) -> Tensor:
    """What is fed as it was stored: uint8 (n, h, w, c)."""
    return ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


Orders = dict[str, list[int]]


def order(config: RunConfig, ranks: int = 1, first: int = 0, batches: int = BATCHES) -> Orders:
    """Numbers of the images of each side in micro-batches, whose labels are seen to fit."""
    found: Orders = {"image": [], "other": []}
    feeds = [feed_of(config, World(rank, ranks)) for rank in range(ranks)]
    micro = range(first * BATCH, (first + batches) * BATCH, config.micro_batch)
    for seen in micro:
        for feed in feeds:
            columns = feed.batch(seen).columns
            for name, label in (("image", "label"), ("other", "other label")):
                numbers = numbers_of(stored(columns[name])).tolist()
                assert [n % 10 for n in numbers] == columns[label].tolist()
                found[name] += numbers
    for feed in feeds:
        feed.close()
    return found


@pytest.mark.parametrize("way", WAYS)
def test_each_set_has_its_own_order_and_epochs(places: tuple[str, str], way: str) -> None:
    found = order(configure(way, places))
    for name, count in (("image", COUNT_A), ("other", COUNT_B)):
        epochs = [found[name][at : at + count] for at in range(0, BATCHES * BATCH, count)]
        for epoch in epochs[:2]:
            assert sorted(epoch) == list(range(count))
        assert epochs[0] != epochs[1]
    # That of the first set is not touched by there being another.
    alone = override(configure(way, places), {"data_b": ""})
    feed = feed_of(alone, World(), Sets(open_images(places[0])))
    batches = [feed.batch(seen * BATCH).columns["image"] for seen in range(BATCHES)]
    assert [n for batch in batches for n in numbers_of(stored(batch)).tolist()] == found["image"]
    feed.close()
    # Of the same images, the second is in an order of its own.
    twice = Sets(open_images(places[0]), open_images(places[0]))
    feed = feed_of(alone, World(), twice)
    columns = feed.batch(0).columns
    assert numbers_of(stored(columns["image"])).tolist() == found["image"][:BATCH]
    assert numbers_of(stored(columns["other"])).tolist() != found["image"][:BATCH]
    feed.close()


def test_sample_s_is_sample_s_of_the_permutations_of_the_second_set(
    places: tuple[str, str],
) -> None:
    found = order(configure("resident", places))
    epochs = (draws.permutation(SEED, "order-other", epoch, COUNT_B) for epoch in itertools.count())
    expected = list(itertools.islice(itertools.chain.from_iterable(epochs), BATCHES * BATCH))
    assert found["other"] == expected


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("halved", [False, True])
def test_the_same_on_any_ranks_in_micro_batches_and_resumed(
    places: tuple[str, str], way: str, halved: bool
) -> None:
    changes = {"data_b": "", "in_halves": True} if halved else {}
    config = configure(way, places, **changes)
    one = order(config)
    for ranks, accumulate, first in ((2, 1, 0), (3, 1, 0), (1, 4, 0), (3, 2, 0), (2, 3, 15)):
        split = override(config, {"accumulate": accumulate})
        found = order(split, ranks, first, BATCHES - first)
        assert found == {name: numbers[first * BATCH :] for name, numbers in one.items()}


@pytest.mark.parametrize(
    ("way", "files"),
    [("resident", A), ("resident", [[2]]), ("streaming", A), ("streaming", [[100, 41]])],
)
def test_halves_share_no_image(tmp_path: Path, way: str, files: list[list[int]]) -> None:
    data, count = write_numbered(tmp_path / "set", files), sum(map(sum, files))
    config = configure(way, (data, ""), in_halves=True)
    first, second = halves(count)
    assert [*first, *second] == list(range(count))
    assert len(first) - len(second) in (0, 1)
    found = order(config)
    for name, half in (("image", first), ("other", second)):
        assert sorted(found[name][: len(half)]) == list(half)
        assert set(found[name]) == set(half)


def test_both_sides_are_mirrored_and_cut_each_by_its_own_numbers(tmp_path: Path) -> None:
    """Against a straight program: interpolate each image, cut it, flip it."""
    rng = np.random.default_rng(0)
    sizes, load = {"image": (8, 10), "other": (12, 9)}, 11
    pixels = {n: rng.integers(0, 256, (40, *size, 3), np.uint8) for n, size in sizes.items()}
    places = [write_pixels(tmp_path / f"{name}.parquet", found) for name, found in pixels.items()]
    changes = {"feed.mirror": True, "feed.load_size": load}
    config = configure("resident", (places[0], places[1]), **changes)
    whole = feed_of(config, World())
    ranks = [feed_of(config, World(rank, 3)) for rank in range(3)]
    orders = {"image": "order", "other": "order-other"}
    flips = set()
    for seen in (0, BATCH, 7 * BATCH):
        columns = whole.batch(seen).columns
        parts = [rank.batch(seen).columns for rank in ranks]
        for name, stream in orders.items():
            assert torch.equal(columns[name], torch.cat([part[name] for part in parts]))
            suffix = stream.removeprefix("order")
            span = [range(seen, seen + BATCH)]
            mirror = draws.uniforms(SEED, f"mirror{suffix}", span, 1)
            jitter = draws.uniforms(SEED, f"jitter{suffix}", span, 2)
            for n in range(BATCH):
                epoch, at = divmod(seen + n, 40)
                image = pixels[name][draws.permutation(SEED, stream, epoch, 40)[at]]
                expected = straight(image, load / 8, jitter[n], bool(mirror[n, 0] > 0.5))
                torch.testing.assert_close(columns[name][n], expected, rtol=0, atol=1e-12)
                flips.add((name, bool(mirror[n, 0] > 0.5)))
    assert len(flips) == 4


def write_pixels(path: Path, pixels: NDArray[np.uint8]) -> str:
    height, width, channels = pixels.shape[1:]
    schema = pixel_schema(ImageShape(channels, height, width))
    cells = pa.array([image.tobytes() for image in pixels], schema.field("image").type)
    columns = {"image": cells, "label": np.zeros(len(pixels), np.int32)}
    pq.write_table(pa.table(columns).cast(schema), path, row_group_size=16)
    return str(path)


def straight(pixels: Any, factor: float, jitter: Any, flipped: bool) -> Tensor:
    image = torch.from_numpy(pixels).double().permute(2, 0, 1) / 127.5 - 1
    height, width = image.shape[1:]
    larger = [math.floor(side * factor + 0.5) for side in (height, width)]
    big = interpolate(image[None], larger, mode="bilinear", align_corners=False)[0]
    top = math.ceil(float(jitter[0]) * (larger[0] - height + 1)) - 1
    left = math.ceil(float(jitter[1]) * (larger[1] - width + 1)) - 1
    window = big[:, top : top + height, left : left + width]
    return window.flip(2) if flipped else window


def test_one_set_for_both_sides_is_an_error(places: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--data_b .*: is the set that --data names too; give an"):
        open_sets(configure("resident", (places[0], places[0])))
    alone = write_numbered(tmp_path / "one", [[1]])
    with pytest.raises(UserError, match=r"^--data .*: holds one image, and two-sets learns from"):
        open_sets(configure("resident", (alone, ""), in_halves=True))
    with pytest.raises(UserError, match=r"^--data_b .*nowhere: no such set, file or folder"):
        open_sets(configure("resident", (places[0], str(tmp_path / "nowhere"))))
