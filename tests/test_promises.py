"""What a manifest or a footer promises is compared with what is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distgan.data import manifest
from distgan.data.columns import SHAPE_KEY
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.prepare import prepare
from distgan.data.sources import open_source
from distgan.errors import UserError

from .test_sources import ENCODED, PIXELS, class_folders


@pytest.fixture
def made(tmp_path: Path) -> Path:
    prepare(str(class_folders(tmp_path / "source")), str(tmp_path / "set"), workers=0)
    return tmp_path / "set"


def changed(folder: Path, **values: Any) -> str:
    path = folder / manifest.MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return str(folder)


SHAPES = {
    "quarters": b"16,16,3",
    "no numbers": b"a,b,c",
    "two sides": b"32,96",
    "negative": b"-32,-32,3",
    "two channels": b"48,32,2",
    "no text": b"\xff\xfe",
}


@pytest.mark.parametrize("lie", SHAPES)
def test_a_shape_that_contradicts_the_rows(tmp_path: Path, lie: str) -> None:
    field = pa.field("image", pa.binary(3072), metadata={SHAPE_KEY: SHAPES[lie]})
    rows = pa.array([image.tobytes() for image in PIXELS], pa.binary(3072))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([rows], schema=pa.schema([field])), path)
    for opened in (lambda: open_images(str(path)), lambda: open_source(str(path), "train")):
        with pytest.raises(UserError, match=r"a\.parquet: .*(promises the shape|2 channels)"):
            opened()


LIES: dict[str, tuple[dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "count": ({"count": 7}, "count 7: is not the sum of the files' counts"),
    "shape": ({"height": 16}, "its manifest says a shape of 16x32x3, the files hold 32x32x3"),
    "class counts": ({"class_counts": [6, 0]}, "class_counts: 2 numbers for 3 classes"),
    "their sum": ({"class_counts": [2, 2, 3]}, "class_counts: their sum is not the count of 6"),
    "no labels": ({"classes": [], "class_counts": []}, "says labels: False, the files hold True"),
    "rows of a file": (
        lambda values: {"count": 5, "files": [{**values["files"][0], "count": 5}]},
        "",
    ),
    "no files": ({"files": []}, "files"),
    "a file twice": (lambda values: {"count": 12, "files": values["files"] * 2}, "each file once"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_contradicts_the_files(made: Path, lie: str) -> None:
    values, said = LIES[lie]
    known = json.loads((made / manifest.MANIFEST).read_text())
    path = changed(made, **(values(known) if callable(values) else values))
    if lie == "rows of a file":
        changed(made, class_counts=[1, 2, 2])
        said = "says images in train.parquet: 5, the files hold 6"
    with pytest.raises(UserError, match="set") as caught:
        open_images(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["../a.parquet", "/a.parquet", "..", "s3://b/a", "a\\b", ""])
def test_a_manifest_stays_in_its_folder(made: Path, name: str) -> None:
    known = json.loads((made / manifest.MANIFEST).read_text())
    path = changed(made, files=[{**known["files"][0], "name": name}])
    for opened in (lambda: open_images(path), lambda: open_source(path, "train")):
        with pytest.raises(UserError, match="should be the name of a file in the set's own folder"):
            opened()


def test_counts_of_classes_are_those_of_the_labels(made: Path) -> None:
    path = changed(made, class_counts=[1, 2, 3])
    with pytest.raises(UserError, match=r"manifest\.json: its counts of the classes"):
        inform(path)


def test_only_the_manifests_files_in_its_order(made: Path) -> None:
    table = pq.read_table(made / "train.parquet")
    pq.write_table(table, made / "a-stranger.parquet")
    assert open_images(str(made)).count == 6
    said = inform(str(made)).lines["left alone"]
    assert said == "1 .parquet files that the manifest does not name"
    # In two files, of which the one with the later name is first.
    parts = {"b.parquet": table.slice(0, 4), "a.parquet": table.slice(4)}
    files = []
    for name, part in parts.items():
        pq.write_table(part, made / name)
        size = (made / name).stat().st_size
        files.append({"name": name, "count": len(part), "bytes": size, "sha256": "0" * 64})
    path = changed(made, files=files)
    order = np.argsort([1, 0, 1, 2, 0, 2], kind="stable")
    np.testing.assert_array_equal(read_resident(open_images(path)).images, PIXELS[order])


def test_missing_pixels_are_damage_not_black(tmp_path: Path) -> None:
    field = pa.field("image", pa.binary(3072), metadata={SHAPE_KEY: b"32,32,3"})
    cells = [PIXELS[0].tobytes(), None, PIXELS[2].tobytes()]
    table = pa.table([pa.array(cells, pa.binary(3072))], schema=pa.schema([field]))
    pq.write_table(table, tmp_path / "raw.parquet")
    pq.write_table(pa.table({"image": [ENCODED[0], None]}), tmp_path / "encoded.parquet")
    for name in ("raw", "encoded"):
        found = open_images(str(tmp_path / f"{name}.parquet"))
        with pytest.raises(UserError, match=r"row 1: is missing \(null\)"):
            read_resident(found)
        pixels = read_resident(found, replace=True)
        assert pixels.replaced.tolist() == [False, True, False][: found.count]
        with pytest.raises(UserError, match=r"row 1: is missing \(null\); mend"):
            prepare(str(tmp_path / f"{name}.parquet"), str(tmp_path / "out"), workers=0)
