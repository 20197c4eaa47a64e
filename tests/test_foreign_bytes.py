"""Pickles and tars out of foreign hands: read as their makers meant them, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import pickle
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distgan.data.sources import open_source, pickles, tars
from distgan.errors import UserError
from distgan.storage.machine import available_memory

from .test_sources import ENCODED, PIXELS, add, cifar_archive, cifar_python, flat, idx, npz

NUMPY = b"cnumpy.core.multiarray\n_reconstruct\n"
NDARRAY = NUMPY + b"cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
U1 = (
    b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def entry(value: bytes, key: bytes = b"U\x01a") -> bytes:
    """A pickle of protocol 2 whose dictionary has one entry."""
    return b"\x80\x02}" + key + value + b"s."


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_python_3(protocol: int) -> None:
    wanted = {"data": flat(), "labels": [1, -2, 300], "names": [b"a", "\xe9"], "t": (True, None)}
    found = pickles.load(pickle.dumps({**wanted, b"b": 2.5}, protocol), "a")
    np.testing.assert_array_equal(found.pop("data"), flat())
    del wanted["data"]
    assert found == {**wanted, "b": 2.5}


def test_pickles_of_python_2() -> None:
    state = b"(K\x01K\x02K\x03\x86" + U1 + b"\x89U\x06abcdeftb"
    found = pickles.load(entry(NDARRAY + state, b"U\x04data"), "a")["data"]
    assert (found.dtype, found.tolist()) == (np.uint8, [[97, 98, 99], [100, 101, 102]])
    # Python's own reader, with NumPy's classes, finds the same.
    theirs = pickle.loads(entry(NDARRAY + state, b"U\x04data"), encoding="latin1")["data"]
    np.testing.assert_array_equal(found, theirs)


POINTERS = (
    b"cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R(K\x03U\x01|NU\x01a\x85}U\x01acnumpy\ndtype\n"
    b"U\x01OK\x00K\x01\x87RK\x00\x86sK\x08K\x01K\x00tb"
)
DOUBLED = b"K\x01\x85q\x00" + b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(60))

REFUSED = {
    "object pointers": entry(NDARRAY + b"(K\x01K\x01\x85" + POINTERS + b"\x89U\x08abcdefghtb"),
    "memory as it is": entry(b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R"),
    "a place far away": entry(b"]r\xff\xff\xff\x7f"),
    "a shape too large": entry(NDARRAY + b"(K\x01M\xff\xff\x85" + U1 + b"\x89U\x01atb"),
    "another order": entry(NDARRAY + b"(K\x01K\x01K\x01\x86" + U1 + b"\x88U\x01atb"),
    "not bytes": entry(NDARRAY + b"(K\x01K\x01\x85" + U1 + b"\x89]tb"),
    "nested keys": entry(b"N", DOUBLED),
    "nested names": entry(DOUBLED + b"U\x01b\x93"),
    "deep keys": entry(b"N", b")" + b"\x85" * 100_000),
    "texts again and again": entry(
        b"](c_codecs\nencode\nq\x01X\x40\x00\x00\x00" + b"a" * 64 + b"q\x02U\x06latin1q\x03"
        b"00" + b"h\x01h\x02h\x03\x86R" * 50 + b"e"
    ),
    "a function's own state": entry(b"c_codecs\nencode\n}U\x01aK\x01sb"),
    "a set": entry(b"\x8f"),
    "depth": b"]" * 100_000 + b"a" * 99_999 + b".",
    "no dictionary": pickle.dumps([1]),
    "nothing": b".",
}


@pytest.mark.parametrize("case", sorted(set(REFUSED) - {"a place far away"}))
def test_pickles_that_are_none_of_cifars(case: str) -> None:
    with pytest.raises(UserError, match="a: not a pickle of CIFAR's"):
        pickles.load(REFUSED[case], "a")


def test_a_pickle_reserves_no_memory() -> None:
    tracemalloc.start()
    assert pickles.load(REFUSED["a place far away"], "a") == {"a": []}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_names_of_classes_are_names(tmp_path: Path) -> None:
    nested: Any = []
    for _ in range(24):
        nested = [nested, nested]
    folder = cifar_python(tmp_path / "cifar")
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [nested]}, 2))
    with pytest.raises(UserError, match=r"batches.meta: label_names is no list of names"):
        open_source(str(folder), "train")


def long_name(size: int, kind: bytes = tarfile.GNUTYPE_LONGNAME) -> bytes:
    """A tar that begins with a name, or attributes, of so many bytes."""
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = kind, size
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(size) + bytes(1024)


@pytest.mark.parametrize("name", ["a.png", "cifar-10.tar.gz", "cifar-10", "a.tar", "a.tar.bz2"])
@pytest.mark.parametrize(
    "pack", [gzip.compress, pytest.param(bz2.compress, marks=pytest.mark.slow)]
)
def test_a_packed_name_is_not_unpacked(tmp_path: Path, name: str, pack: Any) -> None:
    (tmp_path / name).write_bytes(pack(long_name(1 << 25)))
    tracemalloc.start()
    with pytest.raises(UserError):
        open_source(str(tmp_path / name), "train")
    assert tracemalloc.get_traced_memory()[1] < 1 << 23
    tracemalloc.stop()


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_headers_of_a_tar_are_bounded(tmp_path: Path, kind: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(long_name(1 << 21, kind))
    with pytest.raises(UserError, match=r"a.tar: not a whole, uncompressed tar \(a header of"):
        open_source(str(tmp_path / "a.tar"), "train")
    # Names as long as file systems have them are read.
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        add(archive, "/".join(["x" * 200] * 18) + "/0.png", ENCODED[0])
    assert open_source(str(tmp_path / "b.tar"), "train").count == 1


def test_digits_without_end_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.XHDTYPE, 1 << 19
    content = header.tobuf(tarfile.GNU_FORMAT) + b"1" * (1 << 19) + bytes(1024)
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(UserError, match="a number of over 500 digits"):
        open_source(str(tmp_path / "a.tar"), "train")


def test_tars_are_told_by_their_first_header(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(path, "w", format=form) as archive:
            add(archive, "0.png", ENCODED[0])
        assert tars.is_tar(path)
        assert open_source(str(path), "train").kind == "webdataset"
    # Of the time before there was a magic number.
    old = bytearray(path.read_bytes()[:512])
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    path.write_bytes(old)
    assert tars.is_tar(path)
    for content in (b"", bytes(512), ENCODED[0], bytes(old[:511]), b"1" + bytes(old[1:])):
        path.write_bytes(content)
        assert not tars.is_tar(path)


def test_the_archive_of_cifar_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cifar_archive(tmp_path / "a")
    source = open_source(str(path), "train")
    np.testing.assert_array_equal([item.image for item in source.read(np.arange(6))], PIXELS)
    monkeypatch.setattr("distgan.data.sources.cifar._LARGEST", 20_000)
    with pytest.raises(UserError, match=r"a damaged archive \(over 20000 bytes"):
        open_source(str(path), "train")
    monkeypatch.undo()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for number in range(1001):
            add(archive, str(number), b"")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match=r"a damaged archive \(over 1000 files"):
        open_source(str(path), "train")


def test_arrays_beyond_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1 << 26 < available_memory() < 1 << 50
    monkeypatch.setattr("distgan.data.sources.base.available_memory", lambda: 5000)
    for make in (idx, npz):
        with pytest.raises(UserError, match=r"unpacks to [\d,]+ bytes, but 5,000 bytes of memory"):
            open_source(str(make(tmp_path / make.__name__)), "train")
