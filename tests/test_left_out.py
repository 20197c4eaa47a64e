"""What is in a source is taken, or refused, or counted in a line: never passed over in silence."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgan.data.images import open_images
from distgan.data.sources import Source, open_source
from distgan.data.sources.base import Unreadable, class_names
from distgan.data.transform import Transform
from distgan.errors import UserError
from distgan.launch.prepare import prepare

from .test_sources import (
    ENCODED,
    PIXELS,
    add,
    cifar_archive,
    cifar_binary,
    cifar_hundred,
    cifar_python,
    idx,
    npy,
    npz,
    webdataset,
)
from .test_sources import zipped as zipped_set


def write(folder: Path, *names: str) -> Path:
    """A file for each name, below a folder: the images of `ENCODED` one after the other."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(ENCODED[number % 6])
    return folder


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            archive.writestr(name, ENCODED[number % 6])
    return path


def tarred(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            add(archive, name, content)
    return path


def items(source: Source) -> list[Any]:
    return source.read(np.arange(source.count))


def numbers(source: Source) -> list[int]:
    """Which of `ENCODED` the images are."""
    return [ENCODED.index(item.image) for item in items(source)]


def labels(source: Source) -> list[int | None]:
    return [item.label for item in items(source)]


# Folders.


def test_folders_that_are_links_are_classes(tmp_path: Path) -> None:
    write(tmp_path, "set/a/0.png", "set/a/1.png", "elsewhere/b/2.png")
    (tmp_path / "set" / "b").symlink_to("../elsewhere/b")
    # Back to where it is from: an end, not a circle.
    (tmp_path / "set" / "a" / "up").symlink_to("..")
    (tmp_path / "set" / "self.png").symlink_to("self.png")
    with pytest.raises(UserError, match="both beside and inside"):
        open_source(str(tmp_path / "set"), "train")
    (tmp_path / "set" / "self.png").rename(tmp_path / "set" / "b" / "self.png")
    source = open_source(str(tmp_path / "set"), "train")
    assert (source.count, source.classes) == (4, ("a", "b"))
    assert labels(source) == [0, 0, 1, 1]
    (note,) = source.notes
    assert note.startswith("left alone: 1 links that lead back to a folder they lie in")
    lost = items(source)[3].image
    assert isinstance(lost, Unreadable)
    assert "cannot be read" in lost.reason


def test_what_cannot_be_read_is_bad_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "set/0.png", "set/1.png")
    (tmp_path / "set" / "2.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "set" / "3.png")
    (tmp_path / "set" / "4.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match=r"2.png: cannot be read \(No such file.*--skip-bad"):
        prepare(str(tmp_path / "set"), str(tmp_path / "out"), workers=0)
    made = prepare(str(tmp_path / "set"), str(tmp_path / "out"), options(skip_bad=3), workers=0)
    assert (made.count, made.skipped) == (2, 3)
    said = (tmp_path / "out" / "bad-images.txt").read_text()
    assert said.count("not a regular file") == 2
    # Root may read everything, so that a refusal has to be made.
    scandir = os.scandir

    def refusing(place: Any) -> Any:
        if str(place).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(place)

    write(tmp_path, "set/closed/5.png")
    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(UserError, match=r"set/closed: cannot be read \(Permission denied\)"):
        open_source(str(tmp_path / "set"), "train")


def options(**values: Any) -> Any:
    from distgan.config.settings import from_dict
    from distgan.data.prepare import PrepareSettings

    return from_dict(PrepareSettings, values)


def test_endings(tmp_path: Path) -> None:
    names = ("a.jfif", "b.JPE", "c.pnm", "d.apng", "e.x.png")
    write(tmp_path / "set", *names, "f.heic", "g.svg", "h", ".hidden.png")
    write(tmp_path / "set", "._a.jfif", "Thumbs.db", ".DS_Store", "__MACOSX/x.png")
    source = open_source(str(tmp_path / "set"), "train")
    assert source.count == len(names)
    assert source.notes == (
        "left alone: 1 hidden files and folders (1 .png), such as .hidden.png",
        "left alone: 3 files that are no images (1 .heic, 1 .svg, 1 without an ending), such as "
        "f.heic",
    )


def test_names_that_are_no_text_are_classes(tmp_path: Path) -> None:
    write(tmp_path / "set", "plain/0.png")
    for byte in (b"\xe8", b"\xe9"):
        place = os.fsencode(tmp_path / "set") + b"/caf" + byte
        os.mkdir(place)
        with open(place + b"/0.png", "wb") as stream:
            stream.write(ENCODED[1])
    made = prepare(str(tmp_path / "set"), str(tmp_path / "out"), workers=0)
    mark = "\N{REPLACEMENT CHARACTER}"
    assert made.classes == (f"caf{mark}", f"caf{mark} (2)", "plain")
    assert open_images(str(tmp_path / "out")).classes == made.classes


# Archives.


def test_names_in_a_zip(tmp_path: Path) -> None:
    names = ("a\\0.png", "/b/1.png", "C:\\c\\2.png", "../d/3.png", "./a/4.png", "e\\")
    source = open_source(str(zipped(tmp_path / "set.zip", *names)), "train")
    assert source.classes == ("a", "b", "c", "d")
    assert numbers(source) == [0, 4, 1, 2, 3]
    assert labels(source) == [0, 0, 1, 2, 3]


def test_a_zip_with_more_in_it_than_its_list_says(tmp_path: Path) -> None:
    first = zipped(tmp_path / "a.zip", "a.png").read_bytes()
    second = zipped(tmp_path / "b.zip", "b.png").read_bytes()
    (tmp_path / "both.zip").write_bytes(first + second)
    with pytest.raises(UserError, match="before the first that its list names"):
        open_source(str(tmp_path / "both.zip"), "train")
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(tmp_path / "twice.zip", "a.png", "a.png")
    with pytest.raises(UserError, match=r"holds a.png more than once"):
        open_source(str(tmp_path / "twice.zip"), "train")


def test_tars_one_after_the_other(tmp_path: Path) -> None:
    first = tarred(tmp_path / "a.tar", {"0.png": ENCODED[0], "0.cls": b"0"}).read_bytes()
    second = tarred(tmp_path / "b.tar", {"0.png": ENCODED[1], "0.cls": b"1"}).read_bytes()
    (tmp_path / "both.tar").write_bytes(first + second)
    source = open_source(str(tmp_path / "both.tar"), "train")
    assert (numbers(source), labels(source)) == ([0, 1], [0, 1])
    (tmp_path / "both.tar").write_bytes(first + b"junk" * 1000)
    with pytest.raises(UserError, match=r"both.tar: not a whole, uncompressed tar"):
        open_source(str(tmp_path / "both.tar"), "train")


def test_members_of_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "set.tar"
    with tarfile.open(path, "w") as archive:
        # Two dots in the name; labels in JSON; names of Windows; parts that are not known.
        add(archive, "cat.v2.png", ENCODED[0])
        add(archive, "cat.v2.json", json.dumps({"label": 1, "width": 32}).encode())
        add(archive, "dogs\\1.jpg", ENCODED[1])
        add(archive, "dogs\\1.cls", b" 0\n")
        add(archive, "dogs\\1.mask.png", ENCODED[5])
        add(archive, "dogs\\1.npy", b"")
        add(archive, "alone.cls", b"3")
        link = tarfile.TarInfo("dogs/2.png")
        link.type, link.linkname = tarfile.LNKTYPE, "cat.v2.png"
        archive.addfile(link)
        add(archive, "dogs/2.cls", b"2")
        outside = tarfile.TarInfo("dogs/3.png")
        outside.type, outside.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(outside)
    source = open_source(str(path), "train")
    assert (numbers(source), labels(source)) == ([0, 1, 0], [1, 0, 2])
    (note,) = source.notes
    assert note.startswith("left alone: 4 files that belong to no image (2 .png, 1 .npy, 1 .cls)")
    # Class folders inside a tar look like classes and are none.
    tarred(path, {"cat/0.png": ENCODED[0], "dog/0.png": ENCODED[1]})
    assert "folders inside tars are no classes" in open_source(str(path), "train").notes[0]
    tarred(path, {"0.png": ENCODED[0], "0.json": b'{"label": "cat"}'})
    with pytest.raises(UserError, match=r"0.json: label 'cat'; labels are whole numbers"):
        open_source(str(path), "train")


# Arrays.


def test_how_arrays_are_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"

    def source_of(array: Any) -> Source:
        np.save(path, array)
        return open_source(str(path), "train")

    with pytest.raises(UserError, match=r"\(32, 28, 3\), which may be one image or many gray"):
        source_of(PIXELS[0, :, :28])
    source = source_of(PIXELS.transpose(0, 3, 1, 2))
    assert source.notes == (
        "read the array of shape (6, 3, 32, 32), channels first as 6 images of 32x32x3 "
        "(height, width, channels)",
    )
    np.testing.assert_array_equal(Transform().pixels(items(source)[4].image), PIXELS[4])
    for array in (np.asfortranarray(PIXELS), PIXELS.transpose(0, 3, 1, 2), PIXELS[..., 0]):
        source_of(array)
        made = prepare(str(path), str(tmp_path / f"set{array.shape}{array.strides}"), workers=0)
        assert (made.count, made.height) == (6, 32)
    with pytest.raises(UserError, match=r"of shape \(2, 0, 0, 3\); images should be"):
        source_of(np.zeros((2, 0, 0, 3), np.uint8))
    np.savez(tmp_path / "a.npz", images=PIXELS, targets=np.arange(6))
    assert "left alone: arrays named targets" in open_source(str(tmp_path / "a.npz"), "train").notes


def test_arrays_under_second_names_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    pairs = {"x_train": PIXELS, "y_train": np.arange(6), "x_test": PIXELS, "y_test": np.arange(6)}
    np.savez(path, **pairs)
    assert len(open_source(str(path), "train").notes) == 1
    assert len(open_source(str(path), "test").notes) == 1
    np.savez(path, **pairs, images=PIXELS, labels=np.arange(6))
    for split in ("train", "test"):
        assert "left alone: arrays named images, labels" in open_source(str(path), split).notes


def test_what_lies_beside_known_sets_is_counted(tmp_path: Path) -> None:
    for make, what in ((idx, "the IDX files"), (cifar_binary, "those of CIFAR-10 binary")):
        folder = make(tmp_path / make.__name__)
        assert open_source(str(folder), "train").notes == ()
        write(folder, "0.png", "more/1.png")
        (note,) = open_source(str(folder), "train").notes
        assert note.startswith(f"left alone: 2 files beside {what} (1 .png, 1 without an ending)")
    cifar_python(tmp_path / "both" / "cifar-10-batches-py")
    assert open_source(str(tmp_path / "both"), "train").notes == ()
    cifar_hundred(tmp_path / "both" / "cifar-100-python")
    with pytest.raises(UserError, match="holds cifar-10-batches-py, cifar-100-python; give one"):
        open_source(str(tmp_path / "both"), "train")


@pytest.mark.parametrize("make", [idx, cifar_python, cifar_archive, npz, npy])
def test_paths_that_are_no_text_are_shown(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "caf\udce9")
    (item,) = open_source(str(path), "train").read(np.array([0]))
    assert item.where.encode().decode().startswith(f"{tmp_path}/caf\N{REPLACEMENT CHARACTER}")


# Changes, marks and labels.


@pytest.mark.parametrize("make", [webdataset, npy, zipped_set])
def test_a_file_that_is_gone_is_bad_images(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path / "set")
    file = path / "set-0.tar" if path.is_dir() else path
    source = open_source(str(path), "train")
    file.rename(tmp_path / "elsewhere")
    gone = source.read(np.array([0]))[0].image
    assert isinstance(gone, Unreadable)
    assert "No such file" in gone.reason
    if file.suffix == ".npy":
        np.save(file, PIXELS[:2])
        other = "the file holds 2 images now, not 6"
    elif file.suffix == ".zip":
        zipped(file, "other.png")
        other = "the zip is another now"
    else:
        file.mkdir()
        other = "cannot be read (not a regular file but a folder, pipe, device or socket)"
    changed = source.read(np.array([0]))[0].image
    assert isinstance(changed, Unreadable)
    assert changed.reason == other


def test_marks_before_text_and_labels_below_0(tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    path = tarred(
        tmp_path / "a.tar",
        {
            **{"0.png": ENCODED[0], "0.cls": mark + b"1", "0.txt": mark + b"one"},
            **{"1.png": ENCODED[1], "1.json": mark + b'{"label": 0}'},
        },
    )
    source = open_source(str(path), "train")
    assert labels(source) == [1, 0]
    assert items(source)[0].caption == "one"
    tarred(path, {"0.png": ENCODED[0], "0.cls": b"-1"})
    with pytest.raises(UserError, match=r"0.png: label -1 .*"):
        prepare(str(path), str(tmp_path / "out"), workers=0)
    write(tmp_path / "set", "0.png")
    (tmp_path / "set" / "dataset.json").write_text('{"labels": [["0.png", -1]]}')
    with pytest.raises(UserError, match=r"0.png: label -1 .*"):
        prepare(str(tmp_path / "set"), str(tmp_path / "out"), workers=0)


def test_equal_names_of_many_classes() -> None:
    names = class_names(["a", "a (2)", *["a"] * 60_000, "b"])
    assert names[:4] == ("a", "a (2)", "a (3)", "a (4)")
    assert (len(set(names)), names[-1]) == (60_003, "b")


def test_where_a_source_may_be(tmp_path: Path) -> None:
    write(tmp_path / "a b", "0.png")
    for scheme in ("file://", "file://localhost", "file:", "FILE:"):
        assert open_source(f"{scheme}{tmp_path}/a%20b", "train").count == 1
    with pytest.raises(UserError, match="~nosuchuser/x: no such file"):
        open_source("~nosuchuser/x", "train")
    with pytest.raises(UserError, match="read from this machine's disks"):
        open_source("s3://bucket/set", "train")
    for place in ("/dev/null", "x" * 300, "a\0b"):
        with pytest.raises(UserError):
            open_source(place, "train")
    buffer = io.BytesIO()
    np.save(buffer, PIXELS)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe, device or socket"):
        open_source(str(tmp_path / "pipe"), "train")
