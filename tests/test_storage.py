"""Files are whole or not there, locally and elsewhere."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import signal
from pathlib import Path
from typing import IO

import fsspec
import pytest
import torch
from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

from distgan.cli.files import stem
from distgan.errors import UserError
from distgan.recipes import recipe
from distgan.runs import checkpoint, records
from distgan.runs import folder as run
from distgan.storage.storage import AppendLog, Storage, last_name, split


@pytest.fixture(params=["local", "file-uri", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The same folder as a path, as a URI, and on a filesystem that is not local."""
    if request.param == "local":
        return Storage(tmp_path / "run")
    if request.param == "file-uri":
        return Storage(f"file://{tmp_path}/run")
    memory = PyFileSystem(FSSpecHandler(fsspec.filesystem("memory")))
    return Storage(f"{tmp_path}/run", memory)


def test_writes_reads_lists_and_deletes(storage: Storage) -> None:
    assert storage.names() == []
    storage.write("a/b.txt", "one")
    storage.write("a/b.txt", b"two")
    assert storage.read_text("a/b.txt") == "two"
    assert storage.names("a") == ["b.txt"]
    storage.delete("a/b.txt")
    storage.delete("a/b.txt")
    assert not storage.exists("a/b.txt")


def test_a_write_that_fails_half_way_leaves_the_old_file(storage: Storage) -> None:
    storage.write("file", "old")

    def fail(stream: IO[bytes]) -> None:
        stream.write(b"half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"file: no space left.*before is intact.*--out"):
        storage.write("file", fail)
    assert storage.read_text("file") == "old"
    assert storage.names() == ["file"]


LARGE = 5 * 2**20
"""Bytes of a file that is dropped from the page cache after it was written."""


@pytest.mark.parametrize("more", [0, 1, 4096, 5000])
def test_large_files_come_back_as_they_were(storage: Storage, more: int) -> None:
    storage.write("large", b"an older and a shorter one")
    content = os.urandom(LARGE + more)
    storage.write("large", content)
    assert storage.read("large") == content
    assert storage.names() == ["large"]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no posix_fadvise here")
def test_large_files_leave_the_page_cache_once_they_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    fsync, advise = os.fsync, os.posix_fadvise

    def synced(handle: int) -> None:
        calls.append(("fsync", os.fstat(handle).st_size))
        fsync(handle)

    def advised(handle: int, start: int, length: int, advice: int) -> None:
        assert (start, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED)
        calls.append(("dropped", os.fstat(handle).st_size))
        advise(handle, start, length, advice)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "posix_fadvise", advised)
    Storage(tmp_path).write("large", os.urandom(LARGE))
    Storage(tmp_path).write("small", b"small")
    assert calls == [("fsync", LARGE), ("dropped", LARGE), ("fsync", 5)]


def test_a_disk_that_fills_up_in_a_large_file_leaves_the_old_one(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage.write("large", "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, hard))
    try:
        with pytest.raises(UserError, match=r"large: no space left.*before is intact"):
            storage.write("large", os.urandom(LARGE + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert storage.read_text("large") == "old"
    assert storage.names() == ["large"]


def test_log_grows_over_several_openings(storage: Storage) -> None:
    storage.make()
    for line in ("one", "two"):
        log = AppendLog(storage, "log")
        log.append(line)
        log.close()
    assert storage.read_text("log") == "one\ntwo\n"


def test_records_after_the_checkpoint_are_made_again(storage: Storage) -> None:
    storage.make()
    recorder = records.Recorder(storage, 0)
    for images in (10, 20, 30):
        recorder.add({"images": images, "d_loss": 1.0})
    recorder.close()
    recorder = records.Recorder(storage, 20)
    recorder.add({"images": 30, "d_loss": 2.0})
    recorder.close()
    found = [(r["images"], r["d_loss"]) for r in records.read(storage)]
    assert found == [(10, 1.0), (20, 1.0), (30, 2.0)]
    assert storage.names(records.EVENTS)


def test_keeps_the_last_checkpoints(storage: Storage) -> None:
    assert checkpoint.load_newest(storage) is None
    for images in (100, 200, 300):
        checkpoint.save(storage, {"images_seen": images, "w": torch.ones(2)}, keep=2)
    assert [entry["images_seen"] for entry in checkpoint.index(storage)] == [200, 300]
    files = [name for name in storage.names(checkpoint.FOLDER) if name.endswith(".pt")]
    assert files == ["images-000000000200.pt", "images-000000000300.pt"]
    state = checkpoint.load_newest(storage)
    assert state is not None
    assert state["images_seen"] == 300


def test_a_damaged_checkpoint_is_passed_over_aloud(storage: Storage) -> None:
    for images in (100, 200):
        checkpoint.save(storage, {"images_seen": images}, keep=2)
    name = checkpoint.index(storage)[-1]["file"]
    storage.write(name, storage.read(name)[:-7])
    with pytest.warns(UserWarning, match="images-000000000200.pt is damaged"):
        state = checkpoint.load_newest(storage)
    assert state is not None
    assert state["images_seen"] == 100
    storage.delete(checkpoint.index(storage)[0]["file"])
    with pytest.warns(match="missing"), pytest.raises(UserError, match="no whole checkpoint"):
        checkpoint.load_newest(storage)


class _Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (exec, (f"open({str(self.target)!r}, 'w').close()",))


def test_a_handed_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "run")
    buffer = io.BytesIO()
    torch.save({"images_seen": 1, "x": _Malice(tmp_path / "owned")}, buffer)
    checkpoint.save(storage, {"images_seen": 1}, keep=1)
    name = checkpoint.index(storage)[0]["file"]
    storage.write(name, buffer.getvalue())
    index = storage.read_text(checkpoint.INDEX)
    old = checkpoint.index(storage)[0]["sha256"]
    storage.write(
        checkpoint.INDEX, index.replace(old, hashlib.sha256(buffer.getvalue()).hexdigest())
    )
    with pytest.raises(UserError, match="is not a checkpoint of tensors and numbers alone"):
        checkpoint.load_newest(storage)
    assert not (tmp_path / "owned").exists()


def test_unknown_scheme_is_named() -> None:
    with pytest.raises(UserError, match="nonsense://x: not a path or URI"):
        Storage("nonsense://x")


def test_a_run_does_not_begin_in_a_file_or_where_nobody_may_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"notes\.txt: is a file, not a folder"):
        run.create(Storage(tmp_path / "notes.txt"), recipe("mnist-mlp-tutorial"))

    def refuse(self: Storage, name: str) -> object:
        raise OSError(errno.EACCES, "no credentials")

    monkeypatch.setattr(Storage, "_type", refuse)
    with pytest.raises(UserError, match=r"cannot be reached .*no credentials"):
        run.require(Storage(tmp_path / "far"), "--resume")


ENDPOINT = "?scheme=http&endpoint_override=127.0.0.1%3A9&region=x&allow_bucket_creation=true"
BARE = "?endpoint_override=http://127.0.0.1:9/&region=x"


@pytest.mark.parametrize("query", ["?region=x", ENDPOINT, BARE])
@pytest.mark.parametrize("slash", ["", "/"])
def test_what_lies_inside_keeps_the_query_of_its_folder(query: str, slash: str) -> None:
    """As pyarrow reads the addresses, which takes all behind the question mark for the query."""
    storage = Storage(f"s3://bucket/set{slash}{query}")
    for inner in (storage.child("a/b"), Storage(storage.show("a/b"))):
        assert inner.uri == f"s3://bucket/set/a/b{query}"
        filesystem, path = FileSystem.from_uri(inner.anywhere())
        assert path == inner.path() == "bucket/set/a/b" == storage.path("a/b")
        assert filesystem == storage.filesystem == inner.filesystem
    assert storage.anywhere() == f"s3://bucket/set{query}"
    assert last_name(storage.uri) == "set"
    assert stem(storage.uri) == "set"


def test_a_file_at_an_address_with_a_query_is_parted_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Storage, "is_folder", lambda self, name="": False)
    storage, name = split(f"s3://bucket/set/file.yaml{BARE}")
    assert (storage.uri, storage.path(), name) == (f"s3://bucket/set{BARE}", "bucket/set", name)
    assert name == "file.yaml"


def test_what_lies_inside_lies_on_the_same_filesystem(storage: Storage) -> None:
    storage.child("inner").write("file", "text")
    assert storage.names("inner") == ["file"]
    assert storage.child("inner").child("deep").path("x") == storage.path("inner/deep/x")
    assert storage.child("inner").local == storage.local


def test_a_local_path_has_no_query(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "what?")
    storage.child("in").write("a", "b")
    assert (tmp_path / "what?" / "in" / "a").read_text() == "b"
    assert split(str(tmp_path / "what?" / "in" / "a"))[1] == "a"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        Storage(tmp_path).read("pipe")
    with pytest.raises(FileNotFoundError):
        Storage(tmp_path).read("nothing")
