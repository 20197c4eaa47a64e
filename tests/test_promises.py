"""What a manifest or a footer promises is compared with what is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data import pixels as pixels_module
from distgan.data.columns import SHAPE_KEY
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.sources import open_source
from distgan.errors import UserError
from distgan.launch.prepare import prepare

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
    "means": ({"mean": [0.5]}, "mean: 1 numbers for 3 channels"),
    "a class twice": ({"classes": ["a", "a", "b"]}, "should name each class once"),
    "a class that is no text": ({"classes": ["\ud800", "a", "b"]}, ""),
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


@pytest.mark.parametrize(
    "name", ["../a.parquet", "/a.parquet", "..", "s3://b/a", "a\\b", "", "a" * 300]
)
def test_a_manifest_stays_in_its_folder(made: Path, name: str) -> None:
    known = json.loads((made / manifest.MANIFEST).read_text())
    path = changed(made, files=[{**known["files"][0], "name": name}])
    for opened in (lambda: open_images(path), lambda: open_source(path, "train")):
        with pytest.raises(UserError, match=r"should be (the name of a file in|printable)"):
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


def test_pipes_in_the_place_of_files(made: Path, tmp_path: Path) -> None:
    for name in ("train.parquet", "manifest.json"):
        folder = tmp_path / f"copy-{name}"
        shutil.copytree(made, folder)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(UserError, match=r"pipe, device or socket|is missing"):
            open_images(str(folder))
        with pytest.raises(UserError, match=r"pipe, device or socket|is missing"):
            open_source(str(folder), "train")
    (tmp_path / "plain").mkdir()
    os.mkfifo(tmp_path / "plain" / "x.parquet")
    with pytest.raises(UserError, match="pipe, device or socket"):
        open_source(str(tmp_path / "plain"), "train")


def test_preparing_a_set_once_more_compares_it_too(made: Path, tmp_path: Path) -> None:
    pq.write_table(pq.read_table(made / "train.parquet"), made / "stranger.parquet")
    (note,) = open_source(str(made), "train").notes
    assert note.startswith("left alone: 1 Parquet files that the manifest does not name")
    with pytest.raises(UserError, match="its manifest says a shape of 16x32x3"):
        open_source(changed(made, height=16), "train")


def test_a_damaged_first_row_is_one_damaged_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"junk", *ENCODED]}), tmp_path / "a.parquet")
    found = open_images(str(tmp_path / "a.parquet"))
    assert (found.shape.height, found.count) == (32, 7)
    pixels = read_resident(found, replace=True)
    np.testing.assert_array_equal(pixels.images[0], PIXELS[0])
    with pytest.raises(UserError, match="row 0: not an image"):
        read_resident(found)


def test_many_damaged_rows_cost_one_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [ENCODED[0], *([b"junk"] * 300), ENCODED[1]]
    table = pa.table({"image": cells})
    looks: list[int] = []
    decode_one = pixels_module.decode_one
    monkeypatch.setattr(pixels_module, "decode_one", lambda *a: looks.append(1) or decode_one(*a))
    shape = ImageShape(3, 32, 32)
    found = pixels_module.decode(table, slice(0, 302), shape, 0, source="a", replace=True)
    assert found.replaced.sum() == 300
    np.testing.assert_array_equal(found.images[1:], np.repeat(PIXELS[1:2], 301, 0))
    assert len(looks) == 303
