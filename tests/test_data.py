"""Images from files to pixels: the real MNIST, and every way a set can be wrong."""

from __future__ import annotations

import errno
import gzip
import io
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data import fragments, manifest
from distgan.data.damage import Damage
from distgan.data.feed import Feed, scale_pixels
from distgan.data.fragments import read_resident
from distgan.data.images import PACKAGED, open_images
from distgan.data.pixels import Pixels
from distgan.data.resident import Resident
from distgan.data.sources import idx
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.storage import retrying as patience
from distgan.storage.storage import Storage

from .steps import feed_of


def png(value: int, size: tuple[int, int] = (6, 4), mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, "PNG")
    return buffer.getvalue()


def encoded(path: Path, images: list[object], labels: Sequence[object] | None = None) -> str:
    columns: dict[str, object] = {"image": images}
    if labels is not None:
        columns["label"] = labels
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_packaged_mnist_is_the_original_to_the_bit(test_data: Path) -> None:
    images, labels = idx.read_split(test_data / "mnist", "train")
    pixels = read_resident(open_images("mnist"))
    assert pixels.labels is not None
    np.testing.assert_array_equal(pixels.images[..., 0], images)
    np.testing.assert_array_equal(pixels.labels, labels)


@pytest.mark.slow
def test_the_packaged_file_is_what_prepare_makes(test_data: Path, tmp_path: Path) -> None:
    made = prepare(str(test_data / "mnist"), str(tmp_path / "set"))
    assert made == manifest.read(Storage(PACKAGED["mnist"]))
    ours = (tmp_path / "set" / "train.parquet").read_bytes()
    assert ours == (PACKAGED["mnist"] / "train.parquet").read_bytes()
    assert len(ours) < 10_000_000


def test_packaged_mnist_has_the_published_counts() -> None:
    # LeCun, Cortes and Burges: images of each digit in the 60,000 for training.
    pixels = read_resident(open_images("mnist"))
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(pixels.labels).tolist() == counts
    assert pixels.images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


@pytest.mark.parametrize("wrap", [False, True], ids=["bytes", "hugging-face"])
def test_encoded_images(tmp_path: Path, wrap: bool) -> None:
    rows = [png(v) for v in (0, 128, 255)]
    cells = [{"bytes": row, "path": None} for row in rows] if wrap else rows
    images = open_images(encoded(tmp_path / "a.parquet", cells, [2, 0, 1]))
    assert (images.count, images.shape, len(images.classes)) == (3, (1, 4, 6), 3)
    pixels = read_resident(images)
    assert pixels.images.shape == (3, 4, 6, 1)
    assert pixels.images[:, 0, 0, 0].tolist() == [0, 128, 255]
    assert pixels.labels is not None
    assert pixels.labels.tolist() == [2, 0, 1]


def test_several_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        encoded(tmp_path / f"part-{number}.parquet", [png(number * 10), png(number * 10 + 1)])
    pixels = read_resident(open_images(str(tmp_path)))
    assert pixels.images[:, 0, 0, 0].tolist() == [0, 1, 10, 11, 20, 21]
    assert pixels.labels is None


def broken(folder: Path, how: str) -> str:
    """A path to a set that is wrong in one way."""
    file = folder / "set.parquet"
    if how == "missing":
        return str(folder / "nowhere")
    if how == "empty folder":
        return str(folder)
    if how == "no rows":
        return encoded(file, pa.array([], pa.binary()))  # type: ignore[arg-type]
    if how == "truncated":
        encoded(file, [png(1)] * 50)
        file.write_bytes(file.read_bytes()[:-20])
        return str(file)
    if how == "text":
        return encoded(file, ["a", "b"])
    if how == "no image column":
        pq.write_table(pa.table({"picture": [png(1)]}), file)
        return str(file)
    if how == "not images":
        return encoded(file, [png(1), b"not an image"])
    if how == "mixed shapes":
        return encoded(file, [png(1), png(1, (8, 8))])
    if how == "labels of text":
        return encoded(file, [png(1)] * 2, ["cat", "dog"])
    if how == "a label like a number of a row":
        return encoded(file, [png(1)] * 2, [0, 10**9])
    if how == "a missing label":
        return encoded(file, [png(1)] * 2, [0, None])
    if how == "a damaged chunk":
        return encoded(file, [png(1), png(1, mode="RGBA").replace(b"IDAT", b"\1\2\3\4")])
    damaged = png(1, (64, 64))
    return encoded(file, [png(1, (64, 64)), damaged[: len(damaged) // 2]])


BROKEN = {
    "missing": "no such set, file or folder",
    "empty folder": "holds no .parquet file",
    "no rows": "holds no images (0 rows)",
    "truncated": "not a whole Parquet file",
    "text": "column 'image' holds string, not images",
    "no image column": "has no column 'image' of images (picture: binary)",
    "not images": "row 1: not an image",
    "labels of text": "column 'label' holds string, not whole numbers",
    "a label like a number of a row": "a label of 1000000000, out of range",
    "a missing label": "row 1",
    "a damaged chunk": "row 1: not an image",
    "mixed shapes": "row 1: images of mixed shapes, 8x8x1 here but 4x6x1 before",
    "damaged": "row 1: a damaged image",
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_said_of_a_broken_set(tmp_path: Path, how: str) -> None:
    with pytest.raises(UserError) as caught:
        read_resident(open_images(broken(tmp_path, how)))
    assert BROKEN[how] in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_file_without_labels_beside_one_with_them(tmp_path: Path) -> None:
    encoded(tmp_path / "a.parquet", [png(1)] * 2, [0, 1])
    encoded(tmp_path / "b.parquet", [png(1)] * 2)
    with pytest.raises(UserError, match=r"b\.parquet: .*'label'"):
        open_images(str(tmp_path))


def test_name_that_is_nearly_right() -> None:
    with pytest.raises(UserError, match="did you mean mnist"):
        open_images("mnits")


def write_idx(path: Path, array: np.ndarray, cut: int = 0) -> None:  # type: ignore[type-arg]
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(
        gzip.compress(content[: len(content) - cut]) if path.suffix == ".gz" else content
    )


def test_prepare_takes_plain_and_gzipped_idx_and_is_repeatable(tmp_path: Path) -> None:
    images = np.arange(5 * 3 * 2).reshape(5, 3, 2)
    for name, suffix in (("a", ".gz"), ("b", "")):
        (tmp_path / name).mkdir()
        write_idx(tmp_path / name / f"train-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / name / f"train-labels-idx1-ubyte{suffix}", np.array([0, 1, 2, 1, 0]))
        prepare(str(tmp_path / name), str(tmp_path / f"{name}-set"))
    sets = [(tmp_path / f"{name}-set" / "train.parquet").read_bytes() for name in "ab"]
    assert sets[0] == sets[1]
    pixels = read_resident(open_images(str(tmp_path / "a-set")))
    np.testing.assert_array_equal(pixels.images[..., 0], images)
    with pytest.raises(UserError, match="already holds a prepared set"):
        prepare(str(tmp_path / "a"), str(tmp_path / "a-set"))


def test_prepare_names_a_truncated_file(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((4, 2, 2)), cut=3)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(4))
    with pytest.raises(UserError, match=r"train-images.*promises 16 bytes but holds 13"):
        prepare(str(tmp_path), str(tmp_path / "set"))


def test_pixels_become_minus_one_to_one_channels_first() -> None:
    images = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    scaled = scale_pixels(images, torch.float64)
    assert scaled.shape == (1, 3, 1, 1)
    torch.testing.assert_close(
        scaled.flatten(), torch.tensor([-1.0, 1.0, -0.6], dtype=torch.float64)
    )


def test_ranks_share_out_a_batch() -> None:
    pixels = Pixels(
        np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1),
        np.arange(50, dtype=np.int64) % 7,
        np.zeros(50, np.bool_),
    )

    changes = {"seed": 3, "batch": 8, "latent": 5}
    config = override(recipe("mnist-mlp-conditional"), changes)

    def feed(rank: int, size: int) -> Feed:
        world = World(rank, size)
        damage = Damage(open_images("mnist"), 0)
        rows = Resident(pixels, config.seed, 8, world, damage)
        return feed_of(rows, config, ImageShape(1, 1, 1), world)

    alone, ranks = feed(0, 1), [feed(rank, 3) for rank in range(3)]
    for seen in (0, 48, 96):
        whole = alone.batch(seen)
        parts = [rank.batch(seen) for rank in ranks]
        assert set(whole.columns) == {"image", "label"}
        assert set(whole.draws) == {"discriminator", "generator"}
        for kind in ("columns", "draws"):
            for name, values in getattr(whole, kind).items():
                assert torch.equal(torch.cat([getattr(part, kind)[name] for part in parts]), values)
        assert sum(part.weight for part in parts) == pytest.approx(3)
        assert not torch.equal(whole.draws["discriminator"], whole.draws["generator"])


def test_storage_that_fails_for_a_while_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(encoded(tmp_path / "set.parquet", [png(1)] * 4))
    whole, failures, slept = fragments._open, [errno.EIO, errno.ETIMEDOUT], []

    def failing(uri: str, file: str) -> pq.ParquetFile:
        if failures:
            raise OSError(failures.pop(), "the network is down")
        return whole(uri, file)

    monkeypatch.setattr(fragments, "_open", failing)
    monkeypatch.setattr(time, "sleep", slept.append)
    assert read_resident(images).images.shape == (4, 4, 6, 1)
    assert len(slept) == 2
    monkeypatch.setattr(patience.RetryingStorage, "attempt", lambda self, action: action())
    failures.append(errno.EIO)
    with pytest.raises(UserError, match=r"cannot be read .*the network is down"):
        read_resident(images)
