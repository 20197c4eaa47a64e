"""`data prepare` and `data info`: what they make, refuse, leave out and leave behind."""

from __future__ import annotations

import hashlib
import io
import signal
import struct
import subprocess
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distgan.config.settings import from_dict
from distgan.config.shape import ImageShape
from distgan.data import manifest
from distgan.data.decoder import BadImageError, is_plain
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.info import inform
from distgan.data.prepare import PrepareSettings
from distgan.data.transform import Transform
from distgan.errors import UserError
from distgan.launch.prepare import prepare
from distgan.storage.storage import Storage

from .conftest import Run, command
from .test_cli import mistake
from .test_sources import (
    ENCODED,
    LABELS,
    PIXELS,
    Hostile,
    cifar_binary,
    cifar_python,
    class_folders,
    hugging_face,
    npz,
    png,
    stylegan,
    webdataset,
)

NO_IMAGE = "not an image (PNG, JPEG, WEBP, BMP, GIF, TIFF, PPM are read)"


def options(**values: object) -> PrepareSettings:
    return from_dict(PrepareSettings, values)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def photographs(folder: Path, count: int, side: int = 40) -> Path:
    """Images of noise, which take a while to compress."""
    folder.mkdir()
    draw = np.random.default_rng(2)
    for number in range(count):
        pixels = draw.integers(0, 256, (side, side, 3), np.uint8)
        (folder / f"{number:04d}.png").write_bytes(png(pixels))
    return folder


def test_a_set_holds_what_the_source_did(tmp_path: Path) -> None:
    made = prepare(str(class_folders(tmp_path / "source")), str(tmp_path / "set"))
    order = np.argsort(LABELS, kind="stable")
    pixels = read_resident(open_images(str(tmp_path / "set")))
    np.testing.assert_array_equal(pixels.images, PIXELS[order])
    np.testing.assert_array_equal(pixels.labels, np.sort(LABELS))
    assert (made.count, made.height, made.width, made.channels) == (6, 32, 32, 3)
    assert (made.classes, made.class_counts) == (("ant", "bee", "cat"), (2, 2, 2))
    assert made.mean == tuple(np.round(PIXELS.mean((0, 1, 2)) / 255, 6))
    (shard,) = made.files
    file = (tmp_path / "set" / "train.parquet").read_bytes()
    assert (shard.bytes, shard.sha256) == (len(file), hashlib.sha256(file).hexdigest())
    assert manifest.read(Storage(tmp_path / "set")) == made
    assert sorted(content(tmp_path / "set")) == ["manifest.json", "train.parquet"]
    # A prepared set is a source, too.
    prepare(str(tmp_path / "set"), str(tmp_path / "again"))
    assert (tmp_path / "again" / "train.parquet").read_bytes() == file


def test_captions_pairs_and_encoded_images(tmp_path: Path) -> None:
    source = str(webdataset(tmp_path / "tars", pairs=True))
    prepare(source, str(tmp_path / "original"), options(store="original"))
    table = pq.read_table(tmp_path / "original" / "train.parquet")
    assert table.column_names == ["image", "label", "caption", "pair"]
    assert table["image"].to_pylist() == ENCODED
    assert table["pair"][1].as_py() == ENCODED[0]
    assert table["caption"].to_pylist() == [f"image {number}" for number in range(6)]
    # Of another size, they cannot stay the source's bytes.
    prepare(source, str(tmp_path / "small"), options(store="original", size=16, channels="gray"))
    for cell in pq.read_table(tmp_path / "small" / "train.parquet")["pair"].to_pylist():
        with Image.open(io.BytesIO(cell)) as image:
            assert (image.size, image.mode, image.format) == ((16, 16), "L", "PNG")
    prepare(source, str(tmp_path / "raw"), options(size="8x16"))
    kept = pq.read_table(tmp_path / "raw" / "train.parquet")
    assert len(kept["pair"][0].as_py()) == len(kept["image"][0].as_py()) == 8 * 16 * 3


def test_resizing_is_pillows() -> None:
    # Stripes of one pixel, four times reduced: antialiased they are gray, or else stripes.
    stripes = np.zeros((64, 128, 1), np.uint8)
    stripes[:, ::2] = 255
    for name in ("lanczos", "bicubic", "bilinear", "box"):
        small = Transform((16, 16), "center", name).pixels(stripes)
        middle = small[4:12, 4:12].astype(int)
        assert middle.min() >= 118
        assert middle.max() <= 137
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None], 64, axis=0)
    cut = Transform((64, 64)).pixels(ramp)
    np.testing.assert_array_equal(cut, ramp[:, 32:96])
    whole = Transform((64, 64), crop="none").pixels(ramp)
    assert (int(whole.min()), int(whole.max())) == (1, 126)


def test_modes_of_images() -> None:
    deep = Image.fromarray(np.full((2, 2), 0x80FF, np.uint16))
    clear = Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    turned = Image.new("RGB", (4, 2), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    cases = [(deep, "PNG", {}, (2, 2, 1), 0x80), (clear, "PNG", {}, (2, 2, 3), 255)]
    cases += [(turned, "PNG", {"exif": exif}, (4, 2, 3), 255)]  # type: ignore[list-item]
    for image, form, extra, shape, value in cases:
        buffer = io.BytesIO()
        image.save(buffer, form, **extra)
        pixels = Transform().pixels(buffer.getvalue())
        assert (pixels.shape, pixels[0, 0, 0]) == (shape, value)
    assert not is_plain(buffer.getvalue(), ImageShape(3, 4, 2))
    with pytest.raises(BadImageError, match="has 2 channels"):
        Transform().pixels(np.zeros((2, 2, 2), np.uint8))


def test_subset_and_validation(tmp_path: Path) -> None:
    images = np.arange(100, dtype=np.uint8)[:, None, None] + np.zeros((1, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", images=images)
    chosen = options(subset=50, validation=10, seed=3)
    for name in ("one", "two"):
        prepare(str(tmp_path / "a.npz"), str(tmp_path / name), chosen)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    sets = [read_resident(open_images(str(tmp_path / p))) for p in ("one", "one/validation")]
    train, validation = (pixels.images[:, 0, 0, 0].tolist() for pixels in sets)
    assert (len(train), len(validation)) == (40, 10)
    assert not set(train) & set(validation)
    assert train == sorted(train)
    for wrong, said in (({"subset": 101}, "--subset 101"), ({"validation": 100}, "--validation")):
        with pytest.raises(UserError, match=said):
            prepare(str(tmp_path / "a.npz"), str(tmp_path / "three"), options(**wrong))


@pytest.mark.ray
@pytest.mark.slow
def test_shards_are_the_same_from_any_number_of_workers(tmp_path: Path, cluster: str) -> None:
    source = photographs(tmp_path / "source", 1500)
    (source / "0700.png").write_bytes(b"not an image")
    chosen = options(shard_size=1, skip_bad=1, validation=300)
    for workers in (0, 1, 3):
        prepare(str(source), str(tmp_path / str(workers)), chosen, workers=workers)
    sets = [content(tmp_path / str(workers)) for workers in (0, 1, 3)]
    assert sets[0] == sets[1] == sets[2]
    assert "train-00002.parquet" in sets[0]
    said = sets[0].get("bad-images.txt", b"") + sets[0].get("validation/bad-images.txt", b"")
    assert said.decode().splitlines() == [f"{source}/0700.png: {NO_IMAGE}"]
    with pytest.raises(UserError, match=r"0700.png: not an image .*; mend"):
        prepare(str(source), str(tmp_path / "no"), options(shard_size=1), workers=2)
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_it_leaves_no_set_and_can_be_repeated(tmp_path: Path, how: signal.Signals) -> None:
    source, out = photographs(tmp_path / "source", 400, 160), tmp_path / "set"
    line = ["data", "prepare", str(source), "--out", str(out), "--shard-size", "1"]
    line += ["--workers", "0", "--validation", "100"]
    with subprocess.Popen(
        command(*line),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell has the tests ignore SIGINT when it runs them in its background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as run:
        until = time.monotonic() + 60
        while not list(out.glob(".unfinished/*.parquet")) and time.monotonic() < until:
            time.sleep(0.002)
        run.send_signal(how)
        said, complaint = run.communicate(timeout=60)
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    assert run.returncode == codes[how], complaint
    assert complaint == b""
    assert not list(out.glob("*.parquet")) + list(out.glob("manifest.json"))
    assert out.exists() == (how == signal.SIGKILL)
    assert (b"the same command begins again" in said) == (how == signal.SIGINT)
    chosen = options(shard_size=1, validation=100)
    prepare(str(source), str(out), chosen, workers=0)
    prepare(str(source), str(tmp_path / "other"), chosen, workers=0)
    assert content(out) == content(tmp_path / "other")


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    source = hugging_face(tmp_path / "hf") / "data"
    before = content(source)
    with pytest.raises(UserError, match="would be taken for a part of the set"):
        prepare(str(source), str(source))
    prepare(str(source), str(tmp_path / "set"))
    with pytest.raises(UserError, match="already holds a prepared set"):
        prepare(str(source), str(tmp_path / "set"))
    assert content(source) == before
    # Held-out images would go where somebody else's set is.
    prepare(str(source), str(tmp_path / "outer" / "validation"))
    inner = content(tmp_path / "outer" / "validation")
    with pytest.raises(UserError, match="its folder validation/ holds a set"):
        prepare(str(source), str(tmp_path / "outer"))
    assert content(tmp_path / "outer" / "validation") == inner


def test_the_split_of_a_prepared_set_is_what_it_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((4, 8, 8), np.uint8))
    prepare(str(tmp_path / "a.npz"), str(tmp_path / "set"))
    prepare(str(tmp_path / "set"), str(tmp_path / "small"), options(size="4"))
    with pytest.raises(UserError, match="is the split train of its source, not test"):
        prepare(str(tmp_path / "set"), str(tmp_path / "test"), options(split="test"))


def bomb() -> bytes:
    """A PNG of a few bytes that declares 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def damaged(folder: Path, how: str) -> Path:
    """A source that is wrong in one way."""
    if how in ("cifar label", "pickle"):
        if how == "pickle":
            return cifar_python(folder, **{"x": Hostile()})
        return cifar_binary(folder, last=77)
    if how == "cifar length":
        file = cifar_binary(folder) / "data_batch_3.bin"
        file.write_bytes(file.read_bytes()[:-7])
    elif how == "npz":
        file = npz(folder)
        file.write_bytes(file.read_bytes()[:-5000])
        return file
    elif how == "tar":
        file = webdataset(folder) / "set-1.tar"
        file.write_bytes(file.read_bytes()[:-9000])
    elif how in ("zip", "zip member", "zip bomb"):
        file = stylegan(folder)
        if how == "zip":
            file.write_bytes(file.read_bytes()[:-50])
        elif how == "zip member":
            whole = bytearray(file.read_bytes())
            at = whole.index(ENCODED[4]) + 2000
            whole[at] ^= 255
            file.write_bytes(whole)
        else:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.png", bytes((1 << 28) + 1))
        return file
    elif how == "parquet":
        file = hugging_face(folder) / "data" / "train-00000-of-00001.parquet"
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "parquet label":
        folder.mkdir()
        pq.write_table(pa.table({"image": ENCODED[:2], "label": [0, -3]}), folder / "a.parquet")
    elif how == "nothing":
        folder.mkdir()
        (folder / "notes.txt").write_text("no images")
    else:
        class_folders(folder)
        wrong = {
            "truncated": ENCODED[4][:1500],
            "no image": b"<html>404</html>",
            "empty": b"",
            "shape": png(PIXELS[4, :16]),
            "gray": png(PIXELS[4, ..., 0]),
            "bomb": bomb(),
        }
        (folder / "ant" / "4.png").write_bytes(wrong[how])
    return folder


DAMAGED = {
    "truncated": "ant/4.png: a damaged image (",
    "no image": "ant/4.png: not an image",
    "empty": "ant/4.png: empty; mend",
    "shape": "ant/4.png: is 16x32, but the first image is 32x32 (give --size",
    "gray": "ant/4.png: is gray, but the first image is colored (give --channels",
    "bomb": "ant/4.png: too large to be decoded safely (a decompression bomb?)",
    "zip": "set.zip: not a whole zip",
    "zip member": "set.zip: 00001/img00000004.png: cannot be unpacked (Bad CRC-32",
    "zip bomb": "set.zip: a.png: too large for an image (over 256 MiB)",
    "npz": "set.npz: cannot be read",
    "tar": "set-1.tar: ",
    "cifar label": "data_batch_5.bin, row 0: label 77 is out of range; the classes are 0 to 2",
    "cifar length": "data_batch_3.bin: 3066 bytes are not whole records of 3073",
    "pickle": "data_batch_1: not a pickle of CIFAR's (asks for posix.system)",
    "parquet": "train-00000-of-00001.parquet: not a whole Parquet file",
    "parquet label": "a.parquet, row 1: label -3 is out of range",
    "nothing": "no images of a known kind; looked for IDX files",
}


@pytest.mark.parametrize("how", DAMAGED)
def test_a_damaged_source_costs_one_line(distgan: Run, tmp_path: Path, how: str) -> None:
    source = damaged(tmp_path / "source", how)
    said = mistake(distgan("data", "prepare", str(source), "--out", "set"))
    assert DAMAGED[how] in said
    assert str(source) in said
    assert not (tmp_path / "set").exists()


def test_bad_images_are_left_out_counted_and_listed(distgan: Run, tmp_path: Path) -> None:
    source = photographs(tmp_path / "source", 20, 8)
    for number in (0, 7, 19):
        (source / f"{number:04d}.png").write_bytes(b"not an image")
    line = ["data", "prepare", str(source), "--out", "set", "--skip-bad"]
    said = mistake(distgan(*line, "2"))
    assert f"0019.png: {NO_IMAGE}; and 2 bad images before it, more than --skip-bad 2" in said
    assert not (tmp_path / "set").exists()
    result = distgan(*line, "3")
    assert result.returncode == 0, result.stderr
    assert "3 bad images" in result.stdout
    made = manifest.read(Storage(tmp_path / "set"))
    assert made is not None
    assert (made.count, made.skipped) == (17, 3)
    listed = (tmp_path / "set" / "bad-images.txt").read_text().splitlines()
    assert listed == [f"{source}/{n:04d}.png: {NO_IMAGE}" for n in (0, 7, 19)]


MISTAKES = {
    "--size 0": "--size.0 '0': should be greater than or equal to 1",
    "--size big": "--size 'big': should be a number such as 64, or height by width",
    "--filter nearest": "--filter 'nearest': should be 'lanczos', 'bicubic'",
    "--shard-size 0": "--shard-size '0': should be greater than or equal to 1",
    "--split val": "--split 'val': should be 'train' or 'test'",
    "--workers -1": "--workers -1: should be at least 0",
    "--split test": "has no split test",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_wrong_option_costs_one_line(distgan: Run, tmp_path: Path, line: str) -> None:
    source = class_folders(tmp_path / "source")
    result = distgan("data", "prepare", str(source), "--out", "set", *line.split())
    assert MISTAKES[line] in mistake(result)
    assert not (tmp_path / "set").exists()


def test_a_name_that_cannot_be_downloaded(distgan: Run, tmp_path: Path) -> None:
    nowhere = {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    cache = str(tmp_path / "cache")
    line = ["data", "prepare", "fashion-mnist", "--out", "set"]
    said = mistake(distgan(*line, XDG_CACHE_HOME=cache, **nowhere))
    assert "train-images-idx3-ubyte.gz: cannot be downloaded" in said
    assert "download it by hand and give its folder as SOURCE" in said
    said = mistake(distgan("data", "prepare", "fashion-mnits", "--out", "set"))
    assert "no such file or folder, did you mean fashion-mnist?" in said


def test_info_says_draws_and_verifies(distgan: Run, tmp_path: Path) -> None:
    prepare(str(class_folders(tmp_path / "source")), str(tmp_path / "set"))
    result = distgan("data", "info", "set")
    assert result.returncode == 0, result.stderr
    assert "all verified (SHA-256)" in result.stdout
    assert ["1", "bee", "2"] in [line.split() for line in result.stdout.splitlines()]
    assert Image.open(tmp_path / "set-info.png").mode == "RGB"
    file = tmp_path / "set" / "train.parquet"
    whole = file.read_bytes()
    damage = bytearray(whole)
    damage[len(damage) // 2] ^= 1
    file.write_bytes(damage)
    said = mistake(distgan("data", "info", "set"))
    assert "set/train.parquet: its SHA-256 is not the manifest's" in said
    file.write_bytes(whole)
    for text, wanted in (
        ("{", "is damaged (no JSON"),
        ('{"format": 3}', "of format 3, not 2; this distgan is too old for it"),
        ('{"format": 1}', "of format 1, not 2; make the set again"),
    ):
        (tmp_path / "set" / "manifest.json").write_text(text)
        with pytest.raises(UserError) as caught:
            manifest.read(Storage(tmp_path / "set"))
        assert wanted in str(caught.value)


def test_info_of_a_set_without_labels_or_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": ENCODED}), tmp_path / "a.parquet")
    found = inform(str(tmp_path / "a.parquet"))
    assert "none: not made by" in found.lines["manifest"]
    assert found.counts == ()
    assert Image.open(io.BytesIO(found.picture)).width > 300


def test_help_teaches(distgan: Run) -> None:
    said = distgan("data", "prepare", "--help").stdout
    assert "distgan data prepare fashion-mnist --out sets/fashion" in said
    assert "antialiased" in said
