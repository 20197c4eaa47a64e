"""Damaged data, as a user meets it: real damaged files, through the command line."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distgan.data.damage import Damage
from distgan.data.fragments import read_resident, whole_set
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.storage.storage import Storage
from tests.conftest import Run

WAYS = ("resident", pytest.param("streaming", marks=pytest.mark.slow))


def noise_png(number: int, size: tuple[int, int] = (28, 28)) -> bytes:
    """A PNG that does not compress, so that half of it is half an image."""
    pixels = np.random.default_rng(number).integers(0, 256, size[::-1], np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def bomb_png() -> bytes:
    """A few hundred bytes that promise 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def write_set(folder: Path, rows: list[bytes], labels: list[int]) -> Path:
    """Two shards of PNG rows, three row groups each, and a manifest of three classes."""
    folder.mkdir()
    half = len(rows) // 2
    files = []
    for number, part in enumerate((slice(0, half), slice(half, None))):
        file = folder / f"part-{number}.parquet"
        table = pa.table({"image": rows[part], "label": pa.array(labels[part], pa.int32())})
        pq.write_table(
            table,
            file,
            row_group_size=half // 3,
            compression="none",
            use_dictionary=False,
            write_page_checksum=True,
        )
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        files.append({"name": file.name, "count": half, "bytes": len(content), "sha256": digest})
    made = {
        **{"format": 2, "count": len(rows), "height": 28, "width": 28, "channels": 1},
        **{
            "classes": ["a", "b", "c"],
            "class_counts": [len(rows), 0, 0],
            "mean": [0.5],
            "files": files,
        },
        **{"schema": "", "skipped": 0, "source": {}},
    }
    (folder / "manifest.json").write_text(json.dumps(made))
    return folder


ROWS = 240
BAD_ROW = 130
"""In the second shard: its row 10."""


def damaged_set(folder: Path, how: str) -> Path:
    """A set that is wrong in one way."""
    rows = [noise_png(number) for number in range(ROWS)]
    labels = [number % 3 for number in range(ROWS)]
    if how == "truncated image":
        rows[BAD_ROW] = rows[BAD_ROW][: len(rows[BAD_ROW]) // 2]
    elif how == "not an image":
        rows[BAD_ROW] = b"a cat on a mat"
    elif how == "wrong shape":
        rows[BAD_ROW] = noise_png(0, (32, 28))
    elif how == "bomb":
        rows[BAD_ROW] = bomb_png()
    elif how == "label":
        labels[BAD_ROW] = 3
    found = write_set(folder, rows, labels)
    shard = found / "part-1.parquet"
    if how == "missing shard":
        shard.unlink()
    elif how == "size":
        shard.write_bytes(shard.read_bytes()[:-100])
    elif how == "checksum":
        content = bytearray(shard.read_bytes())
        # Inside an image's pixels, where Parquet itself would not notice.
        place = content.index(rows[BAD_ROW]) + 200
        content[place] ^= 1
        shard.write_bytes(content)
    return found


SAID = {
    "truncated image": "part-1.parquet, row 10: a damaged image",
    "not an image": "part-1.parquet, row 10: not an image",
    "wrong shape": "part-1.parquet, row 10: images of mixed shapes, 28x32x1 here but 28x28x1",
    "bomb": "part-1.parquet, row 10: too large to be decoded safely",
    "label": "part-1.parquet, row 10: label 3 is not one of the 3 classes",
    "missing shard": "shard part-1.parquet is missing",
    "size": "shard part-1.parquet has",
    "checksum": "part-1.parquet: row group 0 is damaged",
}
ROW_DAMAGE = ("truncated image", "not an image", "wrong shape", "bomb", "label")


def train(distgan: Run, data: Path, way: str, *more: str) -> tuple[int, str]:
    options = ["--workers", "0", "--images", "480", "--batch", "40", "--out", "run"]
    options += ["--feed.way", way, "--data", str(data), *more]
    if way == "streaming":
        options += ["--feed.window", "90"]
    done = distgan("train", "mnist-mlp", *options)
    return done.returncode, done.stderr + done.stdout


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", SAID)
def test_damage_is_named_by_shard_and_row(distgan: Run, tmp_path: Path, how: str, way: str) -> None:
    status, text = train(distgan, damaged_set(tmp_path / "set", how), way)
    assert status == 2, text
    errors = [line for line in text.splitlines() if line.startswith("distgan: ")]
    assert len(errors) == 1
    assert SAID[how] in errors[0]
    assert "Traceback" not in text


@pytest.mark.parametrize("way", WAYS)
def test_damage_is_passed_over_counted_and_listed(distgan: Run, tmp_path: Path, way: str) -> None:
    data = damaged_set(tmp_path / "set", "truncated image")
    status, text = train(distgan, data, way, "--skip-bad", "1")
    assert status == 0, text
    assert "passed over a damaged image: " in text
    listed = (tmp_path / "run" / "bad-images.txt").read_text().splitlines()
    assert [line.rpartition("/")[2] for line in listed] == ["part-1.parquet, row 10"]


@pytest.mark.parametrize("way", WAYS)
def test_too_much_damage_is_an_error(distgan: Run, tmp_path: Path, way: str) -> None:
    rows = [noise_png(number) for number in range(ROWS)]
    for row in (3, 50, 200):
        rows[row] = rows[row][:300]
    data = write_set(tmp_path / "set", rows, [0] * ROWS)
    status, text = train(distgan, data, way, "--skip-bad", "2")
    assert status == 2, text
    assert "--skip-bad 2: 3 damaged images so far" in text
    assert len((tmp_path / "run" / "bad-images.txt").read_text().splitlines()) == 3
    assert train(distgan, data, way, "--skip-bad", "3", "--out", "more")[0] == 0


@pytest.mark.parametrize("how", ROW_DAMAGE)
def test_the_next_whole_row_stands_in(tmp_path: Path, how: str) -> None:
    images = open_images(str(damaged_set(tmp_path / "set", how)))
    pixels = read_resident(images, replace=True)
    assert np.flatnonzero(pixels.replaced).tolist() == [BAD_ROW]
    for row, stands in [(BAD_ROW, BAD_ROW + 1), (BAD_ROW + 1, BAD_ROW + 1), (0, 0)]:
        expected = np.asarray(Image.open(io.BytesIO(noise_png(stands))))
        np.testing.assert_array_equal(pixels.images[row, ..., 0], expected)
        assert pixels.labels is not None
        assert pixels.labels[row] == stands % 3


def test_a_row_group_of_nothing_but_damage(tmp_path: Path) -> None:
    rows = [noise_png(n) for n in range(200)] + [b"x"] * 40
    images = open_images(str(write_set(tmp_path / "set", rows, [0] * 240)))
    assert whole_set(images)[-1].stop == 40
    with pytest.raises(UserError, match="without one whole image"):
        read_resident(images, replace=True)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("way", ["resident", "streaming"])
@pytest.mark.drill
def test_damage_found_by_rays_workers(distgan: Run, tmp_path: Path, cluster: str, way: str) -> None:
    rows = [noise_png(number) for number in range(ROWS)]
    bad = (3, 50, BAD_ROW, 200)
    for row in bad:
        rows[row] = rows[row][:300]
    data = write_set(tmp_path / "set", rows, [0] * ROWS)
    # Whoever reads them, one of two workers meets two.
    more = ("--workers", "2", "--address", cluster, "--skip-bad", "1")
    status, text = train(distgan, data, way, *more)
    assert status == 2, text
    assert "--skip-bad 1: " in text
    assert "damaged images so far" in text
    assert "Traceback" not in text
    listed = "".join(path.read_text() for path in (tmp_path / "run").glob("bad-*.txt"))
    assert {line.rpartition(", row ")[2] for line in listed.splitlines()} <= {"3", "50", "10", "80"}
    assert "part-" in listed


def test_the_list_of_damaged_images_goes_on(tmp_path: Path) -> None:
    rows = [noise_png(number) for number in range(ROWS)]
    images = open_images(str(write_set(tmp_path / "set", rows, [0] * ROWS)))
    storage = Storage(tmp_path / "run")
    Damage(images, 3, storage).add(np.array([3, BAD_ROW]))
    # The set may have been moved before the run goes on.
    (tmp_path / "set").rename(tmp_path / "moved")
    moved = open_images(str(tmp_path / "moved"))
    said: list[str] = []
    again = Damage(moved, 3, storage, note=said.append)
    again.add(np.array([3, 50]))
    assert said == [f"passed over a damaged image: {moved.locate(50)}"]
    listed = storage.read_text("bad-images.txt").splitlines()
    assert [line.rpartition("/")[2] for line in listed] == [
        "part-0.parquet, row 3",
        "part-0.parquet, row 50",
        "part-1.parquet, row 10",
    ]
    with pytest.raises(UserError, match="--skip-bad 3: 4 damaged images so far"):
        again.add(np.array([200]))
