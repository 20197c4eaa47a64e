"""Every kind of source is recognised and read; what is damaged is said."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import os
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distgan.data.sources import named, open_source
from distgan.data.transform import Transform
from distgan.errors import UserError

from .test_data import write_idx

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)
LABELS = [1, 0, 1, 2, 0, 2]


def png(pixels: np.ndarray) -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


ENCODED = [png(pixels) for pixels in PIXELS]


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def flat() -> Any:
    return PIXELS.transpose(0, 3, 1, 2).reshape(6, -1)


def cifar_python(folder: Path, **changes: Any) -> Path:
    """CIFAR-10's python version with two images in the first batch, one in each other."""
    folder.mkdir(parents=True)
    for number, rows in enumerate([slice(0, 2), *(slice(k, k + 1) for k in range(2, 6))], 1):
        batch = {b"data": flat()[rows], b"labels": LABELS[rows], **changes}
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"label_names": [b"ant", b"bee", b"cat"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def cifar_archive(folder: Path) -> Path:
    cifar_python(folder / "cifar-10-batches-py")
    path = folder / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder / "cifar-10-batches-py", "cifar-10-batches-py")
    return path


def cifar_binary(folder: Path, last: int = 2) -> Path:
    folder.mkdir(parents=True)
    labels = [*LABELS[:5], last]
    records = [bytes([label]) + row.tobytes() for label, row in zip(labels, flat(), strict=True)]
    for number, part in enumerate([records[:2], *([each] for each in records[2:])], 1):
        (folder / f"data_batch_{number}.bin").write_bytes(b"".join(part))
    (folder / "batches.meta.txt").write_text("ant\nbee\ncat\n\n")
    return folder


def cifar_hundred(folder: Path) -> Path:
    folder.mkdir(parents=True)
    batch = {b"data": flat(), b"fine_labels": LABELS, b"coarse_labels": [0] * 6}
    (folder / "train").write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"fine_label_names": [b"ant", b"bee", b"cat"]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def class_folders(folder: Path, prefix: str = "") -> Path:
    # Sorted by class, so the images come in another order than they were made in.
    for number, (content, label) in enumerate(zip(ENCODED, LABELS, strict=True)):
        place = folder / prefix / ("ant", "bee", "cat")[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(content)
    (folder / ".DS_Store").write_bytes(b"junk")
    (folder / "README.txt").write_text("not an image")
    return folder


def zipped(folder: Path) -> Path:
    class_folders(folder / "files", "images")
    path = folder / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((folder / "files").rglob("*")):
            archive.write(file, file.relative_to(folder / "files"))
    return path


def stylegan(folder: Path) -> Path:
    folder.mkdir()
    names = [f"0000{number // 3}/img0000000{number}.png" for number in range(6)]
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in zip(names, ENCODED, strict=True):
            archive.writestr(name, content)
        labels = [list(pair) for pair in zip(names, LABELS, strict=True)]
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return folder / "set.zip"


def webdataset(folder: Path, pairs: bool = False) -> Path:
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"set-{shard}.tar", "w") as archive:
            for number in range(3 * shard, 3 * shard + 3):
                add(archive, f"a.b/{number:04d}.png", ENCODED[number])
                add(archive, f"a.b/{number:04d}.cls", str(LABELS[number]).encode())
                add(archive, f"a.b/{number:04d}.txt", f"image {number}\n".encode())
                if pairs:
                    add(archive, f"a.b/{number:04d}.pair.png", ENCODED[number - 1])
    return folder


def hugging_face(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    names = {"info": {"features": {"label": {"names": ["ant", "bee", "cat"]}}}}
    cells = [{"bytes": content, "path": None} for content in ENCODED]
    table = pa.table({"img": cells, "label": pa.array(LABELS)})
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet", row_group_size=4)
    pq.write_table(table.slice(0, 1), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def npz(folder: Path) -> Path:
    folder.mkdir()
    np.savez_compressed(folder / "set.npz", x_train=PIXELS, y_train=np.array(LABELS)[:, None])
    return folder / "set.npz"


def npy(folder: Path) -> Path:
    folder.mkdir()
    np.save(folder / "set.npy", PIXELS.transpose(0, 3, 1, 2))
    return folder / "set.npy"


def idx(folder: Path) -> Path:
    folder.mkdir()
    write_idx(folder / "train-images-idx3-ubyte.gz", PIXELS[..., 0])
    write_idx(folder / "train-labels.idx1-ubyte", np.array(LABELS))
    return folder


NAMES, NUMBERS = ("ant", "bee", "cat"), ("0", "1", "2")
KINDS = {
    "idx": (idx, NUMBERS),
    "cifar-python": (cifar_python, NAMES),
    "cifar-archive": (cifar_archive, NAMES),
    "cifar-binary": (cifar_binary, NAMES),
    "cifar-hundred": (cifar_hundred, NAMES),
    "folders": (class_folders, NAMES),
    "zip": (zipped, NAMES),
    "stylegan": (stylegan, NUMBERS),
    "webdataset": (webdataset, NUMBERS),
    "hugging-face": (hugging_face, NAMES),
    "npz": (npz, NUMBERS),
    "npy": (npy, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_recognised_and_read(tmp_path: Path, kind: str) -> None:
    make, classes = KINDS[kind]
    source = open_source(str(make(tmp_path / "source")), "train")
    assert (source.count, source.classes) == (6, classes)
    # By class where the folders are classes; else as they were made.
    order = np.argsort(LABELS, kind="stable") if kind in ("folders", "zip") else np.arange(6)
    # As a task gets it, and not all of it.
    chosen = np.array([0, 2, 3, 5])
    items = pickle.loads(pickle.dumps(source)).read(chosen)
    wanted = PIXELS[..., :1] if kind == "idx" else PIXELS
    for item, number in zip(items, order[chosen], strict=True):
        np.testing.assert_array_equal(Transform().pixels(item.image), wanted[number])
        assert item.label == (LABELS[number] if classes else None)
        assert str(tmp_path) in item.where


def test_captions_and_pairs(tmp_path: Path) -> None:
    source = open_source(str(webdataset(tmp_path / "tars", pairs=True)), "train")
    assert (source.captions, source.pairs) == (True, True)
    items = source.read(np.array([1, 4]))
    assert [item.caption for item in items] == ["image 1", "image 4"]
    assert [item.pair for item in items] == [ENCODED[0], ENCODED[3]]
    table = pa.table({"image": ENCODED, "target": ENCODED[::-1], "text": ["a"] * 6})
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_source(str(tmp_path / "a.parquet"), "train")
    assert (source.captions, source.pairs, source.classes) == (True, True, ())
    assert source.read(np.array([5]))[0].pair == ENCODED[0]


def test_splits(tmp_path: Path) -> None:
    for split, number in (("train", 1), ("test", 2)):
        place = tmp_path / "set" / split / "ant"
        place.mkdir(parents=True)
        for k in range(number):
            (place / f"{k}.png").write_bytes(ENCODED[k])
    assert open_source(str(tmp_path / "set"), "train").count == 1
    assert open_source(str(tmp_path / "set"), "test").count == 2
    assert open_source(str(hugging_face(tmp_path / "hf")), "test").count == 1
    with pytest.raises(UserError, match="has no split test"):
        open_source(str(tmp_path / "set" / "train"), "test")


def test_real_mnist_and_cifar(test_data: Path) -> None:
    test = open_source(str(test_data / "mnist"), "test")
    labels = [item.label for item in test.read(np.arange(test.count))]
    # LeCun, Cortes and Burges: images of each digit in the 10,000 for testing.
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    cifar = open_source(str(test_data / "cifar10"), "test")
    assert cifar.count == 2000
    raw = pq.read_table(test_data / "cifar10" / "test-2k.parquet").slice(1500, 1).to_pylist()[0]
    item = cifar.read(np.array([1500]))[0]
    assert (item.image, item.label) == (raw["image"], raw["label"])


class Hostile:
    """What a pickle must not be able to do."""

    def __reduce__(self) -> Any:
        return os.system, ("touch hacked",)


def test_a_pickle_that_runs_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = cifar_python(tmp_path / "cifar", **{"x": Hostile()})  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data_batch_1: not a pickle of CIFAR's \(asks for posix"):
        open_source(str(folder), "train")
    assert not (tmp_path / "hacked").exists()
    np.save(tmp_path / "a.npy", np.array([Hostile()], object))
    with pytest.raises(UserError, match=r"a\.npy"):
        open_source(str(tmp_path / "a.npy"), "train")
    assert not (tmp_path / "hacked").exists()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL of a server on loopback that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_named_set_is_downloaded_once_and_checked(
    tmp_path: Path, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = served
    cifar_archive(tmp_path / "made").rename(folder / "cifar-10-python.tar.gz")
    content = (folder / "cifar-10-python.tar.gz").read_bytes()
    md5 = hashlib.md5(content).hexdigest()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wrong = named.Download(url, {"cifar-10-python.tar.gz": "0" * 32})
    monkeypatch.setitem(named.NAMED, "cifar10", wrong)
    with pytest.raises(UserError, match="what came is not the published file"):
        open_source("cifar10", "train")
    assert not list((tmp_path / "cache" / "distgan" / "cifar10").iterdir())
    right = named.Download(url, {"cifar-10-python.tar.gz": md5}, ("A", "B", "C"))
    monkeypatch.setitem(named.NAMED, "cifar10", right)
    told: list[tuple[str, int, int]] = []
    source = open_source("cifar10", "train", lambda *news: told.append(news))
    assert (source.count, source.classes) == (6, ("A", "B", "C"))
    assert told[-1] == ("bytes of cifar-10-python.tar.gz", len(content), len(content))
    (folder / "cifar-10-python.tar.gz").unlink()
    assert open_source("cifar10", "train").count == 6
    # As `data prepare cifar10 --out cifar10` finds it, which has begun to make the folder.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / ".lock").touch()
    assert open_source("cifar10", "train").count == 6
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(UserError, match=r"127.0.0.1.*cannot be downloaded.*404.*by hand"):
        open_source("cifar10", "train")
