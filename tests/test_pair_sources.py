"""Sources of pairs and of two domains: what is made of them, compared with the files' pixels."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from distgan.cli.main import main
from distgan.config.settings import from_dict
from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.manifest import Manifest
from distgan.data.prepare import PrepareSettings
from distgan.data.sources import open_source
from distgan.data.sources.sides import SIDES
from distgan.errors import UserError
from distgan.launch.prepare import prepare, prepare_sides

from .paired import IMAGES, PAIRS, encoded, folders, write

FEW = 7
RGB = np.repeat(IMAGES, 3, 3)


def options(**values: object) -> PrepareSettings:
    return from_dict(PrepareSettings, values)


def made(source: Path, out: Path, **values: object) -> Manifest:
    return prepare(str(source), str(out), options(**values), workers=0)


def pixels(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    found = read_resident(open_images(str(folder)), pairs=True)
    assert found.pairs is not None
    return found.images, found.pairs


def beside(folder: Path) -> Path:
    for number in range(FEW):
        write(folder / f"{number}.png", IMAGES[number])
        write(folder / f"{number}.pair.bmp", PAIRS[number])
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def tars(folder: Path) -> Path:
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number in range(FEW):
            for name, content in (
                (f"{number}.png", encoded(IMAGES[number])),
                (f"{number}.pair.bmp", encoded(PAIRS[number], "BMP")),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return folder


def parquet(folder: Path) -> Path:
    folder.mkdir()
    cells = [encoded(image) for image in IMAGES[:FEW]], [encoded(pair) for pair in PAIRS[:FEW]]
    table = pa.table({"image": cells[0], "target": [{"bytes": c, "path": None} for c in cells[1]]})
    pq.write_table(table, folder / "train.parquet")
    return folder


SOURCES = {"beside": beside, "tars": tars, "parquet": parquet}


@pytest.mark.parametrize("kind", [*SOURCES, "zip"])
def test_pairs_of_another_shape_from_every_source(tmp_path: Path, kind: str) -> None:
    source = zipped(beside(tmp_path / "in")) if kind == "zip" else SOURCES[kind](tmp_path / "in")
    one = made(source, tmp_path / "set")
    assert one.pair == (8, 12, 3)
    assert open_images(str(tmp_path / "set")).pair == ImageShape(3, 8, 12)
    images, pairs = pixels(tmp_path / "set")
    np.testing.assert_array_equal(images, IMAGES[:FEW])
    np.testing.assert_array_equal(pairs, PAIRS[:FEW])


@pytest.mark.parametrize("store", ["raw", "png", "original"])
def test_folders_of_equal_names(tmp_path: Path, store: str) -> None:
    """Of other endings; the split test has its own, and a zip of the folder is the same."""
    source = folders(tmp_path / "in", FEW)
    (source / "A" / "notes.txt").write_text("no image")
    made(source, tmp_path / "set", pairs="folders", store=store)
    images, pairs = pixels(tmp_path / "set")
    np.testing.assert_array_equal(images, IMAGES[:FEW])
    np.testing.assert_array_equal(pairs, PAIRS[:FEW])
    made(zipped(source), tmp_path / "test", pairs="folders", split="test", store=store)
    images, pairs = pixels(tmp_path / "test")
    np.testing.assert_array_equal(images, IMAGES[-1:])
    np.testing.assert_array_equal(pairs, PAIRS[-1:])
    opened = open_source(str(source), "train", pairs="folders")
    assert any("notes" in note or "1 .txt" in note for note in opened.notes)


@pytest.mark.parametrize(
    "layout", ["{side}/{n}.png", "train/{side}/{n}.png", "train_{side}/{n}.png"]
)
def test_where_the_sides_may_lie(tmp_path: Path, layout: str) -> None:
    for side, arrays in zip(SIDES, (IMAGES, PAIRS), strict=True):
        for n in range(3):
            write(tmp_path / "in" / layout.format(side=side, n=n), arrays[n])
    source = open_source(str(tmp_path / "in"), "train", pairs="folders")
    items = source.read(np.arange(3))
    assert [item.image for item in items] == [encoded(image) for image in IMAGES[:3]]
    assert [item.pair for item in items] == [encoded(pair) for pair in PAIRS[:3]]


@pytest.mark.parametrize("form", ["files", "array"])
def test_side_by_side_is_cut_in_the_middle(tmp_path: Path, form: str) -> None:
    """The left half is the image; both may be turned to another size and other channels."""
    both = np.concatenate([RGB[:FEW], PAIRS[:FEW, :4, :6]], 2)
    if form == "array":
        np.save(tmp_path / "in.npy", both)
        source = tmp_path / "in.npy"
    else:
        source = tmp_path / "in"
        for number in range(FEW):
            write(source / f"train/{number}.png", both[number])
    one = made(source, tmp_path / "set", pairs="side-by-side")
    assert one.pair is None
    images, pairs = pixels(tmp_path / "set")
    np.testing.assert_array_equal(images, RGB[:FEW])
    np.testing.assert_array_equal(pairs, PAIRS[:FEW, :4, :6])
    changed = {"channels": "gray", "pair_channels": "rgb", "pair_size": "2x3", "filter": "box"}
    made(source, tmp_path / "small", pairs="side-by-side", **changed)
    images, pairs = pixels(tmp_path / "small")
    np.testing.assert_array_equal(images, IMAGES[:FEW])
    by_pillow = [
        np.asarray(Image.fromarray(pair[:4, :6]).resize((3, 2), Image.Resampling.BOX))
        for pair in PAIRS[:FEW]
    ]
    np.testing.assert_array_equal(pairs, np.stack(by_pillow))


def unpaired(folder: Path) -> Path:
    for n in range(FEW):
        write(folder / f"trainA/a{n}.png", IMAGES[n])
    for n in range(3):
        write(folder / f"trainB/b{n}.png", PAIRS[n])
    write(folder / "valA/x.png", IMAGES[9])
    write(folder / "valB/y.png", PAIRS[9])
    return folder


def test_two_sets_of_images_that_belong_to_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = unpaired(tmp_path / "in"), tmp_path / "sets"
    line = ["data", "prepare", str(source), "--pairs", "unpaired", "--out", str(out)]
    assert main([*line, "--workers", "0"]) == 0
    said = capsys.readouterr().out
    assert f"7 images of 4x6x1 in {out}/A" in said
    assert f"3 images of 8x12x3 in {out}/B" in said
    assert f"distgan train RECIPE --data {out}/A --data-b {out}/B" in said
    for side, arrays in (("A", IMAGES[:FEW]), ("B", PAIRS[:3])):
        np.testing.assert_array_equal(read_resident(open_images(str(out / side))).images, arrays)
    # Images for validation are those of test where none are named so.
    test = prepare_sides(
        str(source), str(tmp_path / "t"), options(pairs="unpaired", split="test"), workers=0
    )
    assert {side: one.count for side, one in test.items()} == {"A": 1, "B": 1}
    np.testing.assert_array_equal(
        read_resident(open_images(str(tmp_path / "t" / "B"))).images, PAIRS[9:10]
    )
    # Read as before without the option, which is told of.
    plain = open_source(str(source), "train")
    assert plain.classes == ("trainA", "trainB")
    assert any("--pairs unpaired" in note for note in plain.notes)


def test_of_two_sets_both_are_made_or_none(tmp_path: Path) -> None:
    source = unpaired(tmp_path / "in")
    (source / "trainB" / "b1.png").write_bytes(b"junk")
    chosen = options(pairs="unpaired", validation=2)
    with pytest.raises(UserError, match=r"trainB/b1\.png: not an image"):
        prepare_sides(str(source), str(tmp_path / "out"), chosen, workers=0)
    assert [file for file in (tmp_path / "out").rglob("*") if file.is_file()] == []
    write(source / "trainB" / "b1.png", PAIRS[1])
    prepare_sides(str(source), str(tmp_path / "out"), chosen, workers=0)
    assert open_images(str(tmp_path / "out/A/validation")).count == 2
    with pytest.raises(UserError, match=r"out/A: already holds a prepared set"):
        prepare_sides(str(source), str(tmp_path / "out"), chosen, workers=0)


def lacking(folder: Path) -> str:
    os.remove(folder / "B/train/0003.bmp")
    os.remove(folder / "A/train/0005.png")
    return (
        r"A/train/0003\.png has no partner of its name in B \(2 such images, beside 5 pairs\); add"
    )


def unequal(folder: Path) -> str:
    for file in (folder / "B/train").iterdir():
        file.rename(file.with_name(f"b-{file.name}"))
    return r"no image of A has the name of one of B \(A/train/0000\.png, B/train/b-0000\.bmp\)"


def empty(folder: Path) -> str:
    for file in (folder / "B/train").iterdir():
        file.unlink()
    return "holds no images of B in the split train; --pairs looks for folders A and B"


def absent(folder: Path) -> str:
    (folder / "B").rename(folder / "C")
    return "holds no images of B; --pairs looks for folders A and B"


def twice(folder: Path) -> str:
    write(folder / "A/train/0002.bmp", IMAGES[0])
    return r"train/0002\.bmp and train/0002\.png differ in their endings only"


def colours(folder: Path) -> str:
    write(folder / "B/train/0004.bmp", IMAGES[0].repeat(2, 0).repeat(2, 1))
    return r"0004\.png: its pair is gray, but the first pair is colored \(give --pair-channels"


def sizes(folder: Path) -> str:
    write(folder / "B/train/0004.bmp", PAIRS[0][:4])
    return r"0004\.png: its pair is 4x12, but the first pair is 8x12 \(give --pair-size"


def junk(folder: Path) -> str:
    (folder / "B/train/0004.bmp").write_bytes(b"junk")
    return r"0004\.png: its pair: not an image"


@pytest.mark.parametrize("spoil", [lacking, unequal, empty, absent, twice, colours, sizes, junk])
def test_bad_folders_cost_one_line(tmp_path: Path, spoil: object) -> None:
    source = folders(tmp_path / "in", FEW)
    assert callable(spoil)
    message = spoil(source)
    with pytest.raises(UserError, match=message) as found:
        made(source, tmp_path / "set", pairs="folders")
    assert "\n" not in str(found.value)
    assert not (tmp_path / "set").exists() or not list((tmp_path / "set").iterdir())


def test_other_mistakes_cost_one_line(tmp_path: Path) -> None:
    write(tmp_path / "odd" / "1.png", PAIRS[0][:, :11])
    with pytest.raises(
        UserError, match=r"odd/1\.png: is 11 pixels wide, an odd number, so --pairs"
    ):
        made(tmp_path / "odd", tmp_path / "a", pairs="side-by-side")
    some = beside(tmp_path / "some")
    os.remove(some / "3.pair.bmp")
    with pytest.raises(UserError, match=r"3\.png has no partner, as .* \(1 such images, beside 6"):
        made(some, tmp_path / "a")
    whole = beside(tmp_path / "whole")
    with pytest.raises(UserError, match=r"--pairs side-by-side: .* holds pairs already"):
        made(whole, tmp_path / "a", pairs="side-by-side")
    with pytest.raises(UserError, match=r"--pair-size: .* has no pairs; leave it out, or give"):
        made(tmp_path / "odd", tmp_path / "a", pair_size=8)
    with pytest.raises(UserError, match="--pairs folders: stacked-mnist is of one domain"):
        prepare("stacked-mnist", str(tmp_path / "a"), options(pairs="folders"), workers=0)
    np.save(tmp_path / "x.npy", IMAGES)
    with pytest.raises(UserError, match=r"x\.npy: is no folder or zip of images"):
        made(tmp_path / "x.npy", tmp_path / "a", pairs="folders")


def test_odd_widths_may_be_left_out(tmp_path: Path) -> None:
    for number in range(3):
        wide = np.concatenate([PAIRS[number], PAIRS[number]], 1)
        write(tmp_path / "in" / f"{number}.png", wide[:, :-1] if number == 1 else wide)
    one = made(tmp_path / "in", tmp_path / "set", pairs="side-by-side", skip_bad=1)
    assert (one.count, one.skipped) == (2, 1)
    np.testing.assert_array_equal(pixels(tmp_path / "set")[1], PAIRS[[0, 2]])


def test_names_that_only_look_like_pairs_stay_images(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"{number}.pair.png", IMAGES[number])
    source = open_source(str(tmp_path / "in"), "train")
    assert (source.count, source.pairs) == (3, False)


def test_info_tells_of_pairs_and_draws_them_side_by_side(tmp_path: Path) -> None:
    made(beside(tmp_path / "in"), tmp_path / "set")
    found = inform(str(tmp_path / "set"))
    assert found.lines["pairs"] == "8x12x3, one of each image"
    assert inform("mnist").lines.get("pairs") is None
    # Seven pairs in rows, each drawn 48 pixels high and its halves 72 pixels wide.
    sheet = np.asarray(Image.open(io.BytesIO(found.picture)))
    top, left = 62, 24
    for number in range(2):
        at = left + number * 146
        image, pair = sheet[top : top + 48, at : at + 72], sheet[top : top + 48, at + 72 : at + 144]
        np.testing.assert_array_equal(image[::12, ::12], RGB[number])
        np.testing.assert_array_equal(pair[::6, ::6], PAIRS[number])
