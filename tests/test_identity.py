"""A set is known again after a move, and told from another of the same count and shape."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distgan.data import identity
from distgan.data.columns import SHAPE_KEY
from distgan.data.identity import check_same, everywhere, fingerprint, remember
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from distgan.storage.storage import Storage

from .test_sources import PIXELS, class_folders


def raw(path: Path, pixels: np.ndarray) -> str:  # type: ignore[type-arg]
    """Pixels without statistics or compression: the footers of two such files are the same."""
    field = pa.field("image", pa.binary(3072), metadata={SHAPE_KEY: b"32,32,3"})
    rows = pa.array([image.tobytes() for image in pixels], pa.binary(3072))
    table = pa.table([rows], schema=pa.schema([field]))
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    return str(path)


def test_a_moved_set_is_the_same_and_another_is_not(tmp_path: Path) -> None:
    run = Storage(tmp_path / "run")
    made = str(tmp_path / "set")
    prepare(str(class_folders(tmp_path / "source")), made, workers=0)
    remember(run, made, open_images(made))
    (tmp_path / "set").rename(tmp_path / "moved")
    check_same(run, "moved", open_images(str(tmp_path / "moved")))
    source = tmp_path / "source" / "ant"
    first, second = sorted(source.iterdir())
    first.write_bytes(second.read_bytes())
    prepare(str(tmp_path / "source"), made, workers=0)
    with pytest.raises(UserError, match=r"--data set: holds other images .* 6 of 32x32x3 in"):
        check_same(run, "set", open_images(made))


def test_sets_without_a_manifest(tmp_path: Path) -> None:
    path = raw(tmp_path / "a.parquet", PIXELS)
    first = fingerprint(open_images(path))
    assert fingerprint(open_images(raw(tmp_path / "b.parquet", PIXELS))) == first
    other = PIXELS.copy()
    other[3] ^= 255
    size = os.path.getsize(path)
    assert fingerprint(open_images(raw(tmp_path / "a.parquet", other))) != first
    assert os.path.getsize(path) == size


@pytest.mark.parametrize("limit", [2**32, 1000])
def test_one_pixel_tells_sets_without_a_manifest_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Where no piece is looked at; of more than 4 GiB, only the pieces are compared."""
    monkeypatch.setattr(identity, "_WHOLE", limit)
    run, pixels = Storage(tmp_path / "run"), np.zeros((200, 32, 32, 3), np.uint8)
    path = raw(tmp_path / "a.parquet", pixels)
    remember(run, path, open_images(path))
    shutil.copy(path, tmp_path / "moved.parquet")
    check_same(run, "moved", open_images(str(tmp_path / "moved.parquet")))
    first = fingerprint(open_images(path))
    pixels[30, 9, 9] = 1
    images = open_images(raw(tmp_path / "a.parquet", pixels))
    assert fingerprint(images) == first
    if limit == 1000:
        check_same(run, path, images)
    else:
        with pytest.raises(UserError, match="holds other images"):
            check_same(run, path, images)
    # A run that was begun before the whole content was remembered, or far away, goes on.
    known = json.loads(run.read_text(identity.FILE))
    for content in ({"content": ""}, {}):
        known.pop("content", None)
        run.write(identity.FILE, json.dumps({**known, **content}))
        check_same(run, path, images)


def test_names_that_are_found_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert everywhere("mnist") == "mnist"
    assert everywhere("s3://bucket/set") == "s3://bucket/set"
    assert everywhere("set") == str(tmp_path / "set")
    assert everywhere("~/set") == "/home/somebody/set"
