"""Pairs of images, from a set to the batches of both feeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distgan.config.run import RunConfig
from distgan.config.settings import from_dict, override
from distgan.config.shape import ImageShape
from distgan.data import feed_mode
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.fragments import read_in_order, read_numbered, read_resident, whole_set
from distgan.data.images import ImageSet, open_images, pixel_schema
from distgan.data.prepare import PrepareSettings
from distgan.data.rows import open_rows
from distgan.data.spec import data_spec, reads_pairs
from distgan.errors import UserError
from distgan.families import build
from distgan.families.registry import FAMILIES
from distgan.launch.prepare import prepare
from distgan.parallel import World

from .paired import COUNT, IMAGES, PAIRS, Paired, PairedConfig, encoded, folders
from .toy_family import ToyConfig

BATCH = 8
IMAGE, PAIR = ImageShape(1, 4, 6), ImageShape(3, 8, 12)

WAYS: dict[str, dict[str, Any]] = {
    "resident": {"feed.way": "resident"},
    "streaming": {"feed.way": "streaming", "feed.window": 16, "feed.lanes": 2},
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    # For these tests alone: others go through all families that there are.
    monkeypatch.setitem(FAMILIES, "toy-pairs", (PairedConfig, Paired))


def config_for(
    data: Path, way: str, kind: type[ToyConfig] = PairedConfig, **changes: Any
) -> RunConfig:
    chosen = {"data": str(data), "batch": BATCH, "images": 20 * BATCH, **WAYS[way], **changes}
    return override(kind(recipe="toy"), chosen)


def feed_of(config: RunConfig, world: World, images: ImageSet | None = None) -> Feed:
    """As a run opens it in one process."""
    images = images or open_images(config.data)
    replace_bad, pairs = config.feed.skip_bad > 0, reads_pairs(config, images)
    rows = open_rows(
        config,
        images,
        world,
        resident=lambda: read_resident(images, replace_bad, pairs),
        reader=lambda fragments: read_in_order(images, fragments, replace_bad, pairs),
        damage=Damage(images, config.feed.skip_bad),
        pairs=pairs,
    )
    family = build(config, data_spec(images), world)
    return Feed(rows, family.columns(), family.draws(), config, world)


def write_rows(path: Path, images: list[bytes], pairs: list[bytes], rows: int = 5) -> Path:
    """A Parquet file of encoded images, with labels 0 to 2."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.arange(len(images)) % 3
    table = pa.table({"image": images, "label": labels, "pair": pairs})
    pq.write_table(table, path, row_group_size=rows)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Sets of the same pairs: raw pixels, PNG, and Parquet without a manifest."""
    folder = tmp_path_factory.mktemp("stores")
    folders(folder / "source")
    for store in ("raw", "png"):
        options = from_dict(PrepareSettings, {"pairs": "folders", "store": store})
        prepare(str(folder / "source"), str(folder / store), options, workers=0)
    images, pairs = [encoded(i) for i in IMAGES], [encoded(p) for p in PAIRS]
    write_rows(folder / "foreign" / "a.parquet", images, pairs)
    return {name: folder / name for name in ("raw", "png", "foreign")}


def stored(images: torch.Tensor) -> list[bytes]:
    """Each image of a batch, float (n, c, h, w), as the bytes of its pixels."""
    whole = ((images.double() + 1) * 255 / 2).round().to(torch.uint8).permute(0, 2, 3, 1)
    return [each.numpy().tobytes() for each in whole]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("store", ["raw", "png"])
def test_batches_hold_the_pair_of_every_image(
    stores: dict[str, Path], store: str, way: str
) -> None:
    """Compared with the arrays that the files were made of; on one rank and on two."""
    pair_of = {i.tobytes(): p.tobytes() for i, p in zip(IMAGES, PAIRS, strict=True)}
    config = config_for(stores[store], way)
    whole, ranks = feed_of(config, World()), [feed_of(config, World(rank, 2)) for rank in (0, 1)]
    seen = []
    for first in range(0, 12 * BATCH, BATCH):
        columns = whole.batch(first).columns
        assert columns["image"].shape[1:] == IMAGE
        assert columns["pair"].shape[1:] == PAIR
        images = stored(columns["image"])
        assert [pair_of[image] for image in images] == stored(columns["pair"])
        seen += images
        parts = [rank.batch(first).columns for rank in ranks]
        for name, column in columns.items():
            assert torch.equal(torch.cat([part[name] for part in parts]), column)
    assert sorted(seen[:COUNT]) == sorted(pair_of)
    for feed in (whole, *ranks):
        feed.close()


@pytest.mark.parametrize("way", WAYS)
def test_an_image_and_its_pair_are_mirrored_together(stores: dict[str, Path], way: str) -> None:
    plain = feed_of(config_for(stores["raw"], way), World())
    mirrored = feed_of(config_for(stores["raw"], way, **{"feed.mirror": True}), World())
    flips = []
    for first in range(0, 6 * BATCH, BATCH):
        before, after = plain.batch(first).columns, mirrored.batch(first).columns
        for sample in range(BATCH):
            flipped = not torch.equal(before["image"][sample], after["image"][sample])
            for name in ("image", "pair"):
                wanted = before[name][sample]
                assert torch.equal(after[name][sample], wanted.flip(2) if flipped else wanted)
            flips.append(flipped)
    assert 0 < sum(flips) < len(flips)
    plain.close()
    mirrored.close()


@pytest.mark.parametrize("way", WAYS)
def test_other_families_do_not_read_pairs(tmp_path: Path, way: str) -> None:
    """Whose bytes may be anything then; batches are those of the set without the column."""
    images = [encoded(i) for i in IMAGES]
    write_rows(tmp_path / "with" / "a.parquet", images, [b"junk"] * COUNT)
    table = pq.read_table(tmp_path / "with" / "a.parquet").drop_columns("pair")
    (tmp_path / "without").mkdir()
    pq.write_table(table, tmp_path / "without" / "a.parquet", row_group_size=5)
    feeds = [
        feed_of(config_for(tmp_path / name, way, ToyConfig), World())
        for name in ("with", "without")
    ]
    for first in range(0, 12 * BATCH, BATCH):
        found, wanted = (feed.batch(first) for feed in feeds)
        assert found.columns.keys() == wanted.columns.keys() == {"image"}
        assert torch.equal(found.columns["image"], wanted.columns["image"])
    for feed in feeds:
        feed.close()


def damaged(path: Path) -> Path:
    """Of 37 pairs in row groups of 5, the third is damaged and the seventh is missing."""
    images, pairs = [encoded(i) for i in IMAGES], [encoded(p) for p in PAIRS]
    table = pa.table(
        {"image": images, "pair": [*pairs[:2], pairs[2][:60], *pairs[3:6], None, *pairs[7:]]}
    )
    path.parent.mkdir(parents=True)
    pq.write_table(table, path, row_group_size=5)
    return path


def test_a_damaged_pair_makes_its_row_damaged(tmp_path: Path) -> None:
    """It is named, or the next whole row takes its place, with its image; see `test_damage`."""
    images = open_images(str(damaged(tmp_path / "set" / "a.parquet")))
    assert images.pair == PAIR
    with pytest.raises(UserError, match=r"a\.parquet, row 2: its pair: a damaged image"):
        read_resident(images, pairs=True)
    with pytest.raises(UserError, match=r"a\.parquet, row 6: its pair: is missing \(null\)"):
        list(read_in_order(images, whole_set(images)[1:], False, True))
    found = read_resident(images, replace=True, pairs=True)
    stands = np.arange(COUNT)
    stands[[2, 6]] = [3, 7]
    assert np.flatnonzero(found.replaced).tolist() == [2, 6]
    np.testing.assert_array_equal(found.images, IMAGES[stands])
    assert found.pairs is not None
    np.testing.assert_array_equal(found.pairs, PAIRS[stands])
    numbers = np.array([0, 2, 6, 30])
    some = list(read_numbered(images, numbers, pairs=True))
    pairs = [piece.pairs for piece in some if piece.pairs is not None]
    np.testing.assert_array_equal(np.concatenate(pairs), PAIRS[stands[numbers]])
    assert not read_resident(images).replaced.any()


@pytest.mark.parametrize("way", WAYS)
def test_damaged_pairs_are_counted(tmp_path: Path, way: str) -> None:
    data = damaged(tmp_path / "set" / "a.parquet")

    def read() -> None:
        feed = feed_of(config_for(data, way, **{"feed.skip_bad": 1}), World())
        for first in range(0, 6 * BATCH, BATCH):
            feed.batch(first)

    with pytest.raises(UserError, match="--skip-bad 1: 2 damaged images so far"):
        read()


def test_a_family_of_pairs_refuses_a_set_without(tmp_path: Path) -> None:
    config = override(PairedConfig(recipe="toy"), {"data": "mnist"})
    with pytest.raises(UserError, match=r"^--data mnist: holds no pairs .*`distgan data prepare"):
        reads_pairs(config, open_images("mnist"))
    texts = pa.table({"image": [encoded(i) for i in IMAGES], "pair": ["a text"] * COUNT})
    pq.write_table(texts, tmp_path / "a.parquet")
    assert open_images(str(tmp_path)).pair is None


def test_memory_counts_pairs_where_they_are_read(stores: dict[str, Path]) -> None:
    images = open_images(str(stores["raw"]))
    assert (images.image_bytes, images.pair_bytes) == (24, 288)
    feed = config_for(stores["raw"], "resident").feed
    assert feed_mode.describe(feed, images).startswith("37 images resident")
    assert feed_mode.describe(feed, images, pairs=True).startswith("37 pairs resident")
    auto = replace(feed, way="auto")
    # A tenth of memory: 888 bytes of images fit, 11,544 with their pairs do not.
    assert feed_mode.settle(auto, images, 8, 20_000).way == "resident"
    assert feed_mode.settle(auto, images, 8, 20_000, pairs=True).way == "streaming"


def test_the_manifests_word_on_pairs_is_checked(stores: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for file in stores["raw"].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    said = folder / "manifest.json"
    text = said.read_text()
    assert open_images(str(folder)).pair == PAIR
    said.write_text(text.replace('"pair": [\n    8,\n    12,', '"pair": [\n    6,\n    16,'))
    with pytest.raises(UserError, match="says pairs of a shape of 6x16x3, the files hold 8x12x3"):
        open_images(str(folder))


def test_sets_without_pairs_of_another_shape_are_written_as_before(tmp_path: Path) -> None:
    """Neither field of the manifest nor of its options is new, so that older versions read them."""
    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.png").write_bytes(encoded(IMAGES[number]))
    made = prepare(str(tmp_path / "in"), str(tmp_path / "out"), workers=0)
    fields = '"format" "count" "height" "width" "channels" "classes" "class_counts" "mean" "files"'
    written = (tmp_path / "out" / "manifest.json").read_text()
    for field in (*fields.split(), '"schema"', '"skipped"', '"source"'):
        assert f"\n  {field}: " in written
    assert "pair" not in written
    assert list(made.source) == [
        *("kind", "split", "size", "crop", "filter", "channels", "subset", "validation"),
        *("shard_size", "store", "skip_bad", "seed"),
    ]
    assert "pair" not in pixel_schema(IMAGE).names


@pytest.mark.ray
def test_ray_data_reads_pairs(cluster: str, stores: dict[str, Path]) -> None:
    import ray

    from distgan.data.pixels import join
    from distgan.launch.ray.reader import read_on_ray, read_resident_on_ray

    images = open_images(str(stores["foreign"]))
    resident = ray.get(read_resident_on_ray(images, False, False, True))
    streamed = join(list(read_on_ray(images, whole_set(images), False, False, True)))
    for found in (resident, streamed):
        assert found.pairs is not None
        np.testing.assert_array_equal(found.images, IMAGES)
        np.testing.assert_array_equal(found.pairs, PAIRS)
