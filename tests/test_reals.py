"""Real images of an evaluation: which are read, by whom, and that it changes no value."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from distgan import draws
from distgan.config.evaluate import EvaluateSettings
from distgan.data import fragments
from distgan.data.fragments import read_numbered, read_resident
from distgan.data.images import ImageSet, open_images
from distgan.evaluate import reals
from distgan.evaluate.evaluation import Evaluator
from distgan.evaluate.extraction import extract_all_ranks, own_places
from distgan.evaluate.reals import Reals, _own_blocks
from distgan.families import DataSpec, build
from distgan.features import EXTRACTORS
from distgan.parallel import World

from .test_health import settings


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> str:
    """950 digits as PNG in row groups of 40, two of them damaged."""
    folder = tmp_path_factory.mktemp("encoded")
    digits = read_resident(open_images("mnist"))
    assert digits.labels is not None
    files = []
    for image in digits.images[:950]:
        buffer = io.BytesIO()
        Image.fromarray(image[:, :, 0]).save(buffer, "PNG")
        files.append(buffer.getvalue())
    files[3], files[79] = b"not an image", b""
    table = pa.table({"image": files, "label": digits.labels[:950]})
    pq.write_table(table, folder / "train.parquet", row_group_size=40)
    return str(folder / "train.parquet")


def test_evidence_is_what_it_is_with_the_whole_set_in_memory(encoded: str) -> None:
    images, extractor = open_images(encoded), EXTRACTORS["mnist"]()
    whole = read_resident(images, replace=True)
    assert whole.labels is not None
    assert whole.replaced.sum() == 2
    chosen = EvaluateSettings(num=437, metrics=("frechet", "memorisation"))
    found = Reals(images, chosen, World())._extract(extractor, World())
    wanted = (np.arange(437) * 950 // 437)[draws.permutation(0, "reals", 0, 437)]
    pixels = torch.from_numpy(whole.images[wanted]).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(whole.labels[wanted])
    expected = extract_all_ranks(
        lambda n: pixels[n.start : n.stop], 437, extractor, World(), labels
    )
    ours, theirs = found.to_tensors(), expected.to_tensors()
    assert ours.keys() - theirs.keys() == {"training"}
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    every = torch.from_numpy(whole.images).permute(0, 3, 1, 2).contiguous()
    features = torch.cat([extractor(block).features for block in every.split(100)])
    assert torch.equal(ours["training"], features)


def test_only_row_groups_that_hold_wanted_images_are_read(
    encoded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, read, decoded = open_images(encoded), list[int](), list[int]()
    row_group, decode = fragments._row_group, fragments.decode

    def count_groups(uri: str, file: str, group: int, columns: list[str]) -> Any:
        read.append(group)
        return row_group(uri, file, group, columns)

    def count_rows(table: pa.Table, rows: slice, *others: Any, **named: Any) -> Any:
        decoded.append(rows.stop - rows.start)
        return decode(table, rows, *others, **named)

    monkeypatch.setattr(fragments, "_row_group", count_groups)
    monkeypatch.setattr(fragments, "decode", count_rows)
    numbers = np.array([200, 201, 239, 240, 949])
    pieces = list(read_numbered(images, numbers))
    assert sorted(read) == [5, 6, 23]
    assert sum(decoded) == len(numbers)
    monkeypatch.undo()
    found = np.concatenate([piece.images for piece in pieces])
    assert np.array_equal(found, read_resident(images, replace=True).images[numbers])


def test_every_rank_reads_its_own_blocks(encoded: str) -> None:
    images = open_images(encoded)
    whole = torch.from_numpy(read_resident(images, replace=True).images).permute(0, 3, 1, 2)
    wanted = whole[np.arange(930) * 950 // 930]
    seen: dict[int, torch.Tensor] = {}
    for rank in range(3):
        world = World(rank, 3)
        its = dict(_own_blocks(images, 930, world))
        assert sum(map(len, its.values())) == len(own_places(930, world))
        seen |= its
    assert sorted(seen) == list(range(10))
    for number, block in seen.items():
        assert torch.equal(block, wanted[100 * number : 100 * (number + 1)])


def test_a_sets_content_is_read_by_one_rank(
    encoded: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images, opened = open_images(encoded), list[str]()

    class Told(World):
        def gather(self, value: Any) -> list[Any]:
            return [value if self.leads else "as rank 0 says", value]

    content = "distgan.evaluate.reals._content"
    monkeypatch.setattr(content, lambda images: opened.append(images.uri) or "content")
    chosen = EvaluateSettings(num=100)
    assert Reals(images, chosen, Told(0, 2)).checksum == "content"
    assert Reals(images, chosen, Told(1, 2)).checksum == "as rank 0 says"
    assert opened == [images.uri]


def test_a_card_says_how_many_images_each_metric_took(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # What others kept of the same images was made with the real limits.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("distgan.evaluate.extraction.MOST_FEATURES", 200)
    monkeypatch.setattr("distgan.evaluate.extraction._MOST_PIXELS", 100)
    images: ImageSet = open_images("mnist")
    config = settings()
    metrics = ("frechet", "kernel", "manifold", "classifier-score", "modes", "sliced")
    chosen = EvaluateSettings(num=400, metrics=metrics)
    family = build(config, DataSpec(images.shape))
    networks = {role: net.module.eval() for role, net in family.networks().items()}
    found = Evaluator(chosen, images, "mnist", family, World()).evaluate(networks, 0)
    assert found.card.used == (
        "frechet 400 and 400, kernel 200 and 200, manifold 200 and 200, "
        "classifier-score 200 and 200, modes 400 and 400, sliced 100 and 100"
    )
    assert found.to_dict()["card"]["used"] == found.card.used
    assert found.card.fake == 400


def test_a_set_made_anew_at_the_same_place_is_read_anew(tmp_path: Path) -> None:
    """In one process, such as a notebook."""
    shape = {b"distgan.shape": b"2,2,1"}
    for round_, rows in enumerate((8, 5)):
        pixels = [bytes([round_ * 100 + row] * 4) for row in range(rows)]
        column = pa.array(pixels, pa.binary(4))
        field = pa.field("image", pa.binary(4), metadata=shape)
        table = pa.Table.from_arrays([column], schema=pa.schema([field]))
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
        found = read_resident(open_images(str(tmp_path / "a.parquet")))
        assert found.images[:, 0, 0, 0].tolist() == [round_ * 100 + row for row in range(rows)]


def test_no_array_that_cannot_be_written_to_becomes_a_tensor(
    encoded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which torch warns, once in a process."""
    make = torch.from_numpy

    def look(array: Any) -> torch.Tensor:
        assert array.flags.writeable
        return make(array)

    for path in (encoded, "mnist"):
        images = open_images(path)
        monkeypatch.setattr(torch, "from_numpy", look)
        pixels, labels = reals.read_images(images, np.arange(100, 120))
        monkeypatch.undo()
        assert len(pixels) == 20
        assert labels is not None
        assert labels.tolist() == read_resident(images, replace=True).labels[100:120].tolist()  # type: ignore[index]
