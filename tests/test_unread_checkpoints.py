"""Checkpoints that cannot be read now, or are not what the index says, are never thrown away."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from distgan.errors import UserError
from distgan.runs import checkpoint
from distgan.runs.records import METRICS
from distgan.runs.recovery import recover_index
from distgan.storage.storage import Storage

RECORDS = b'{"images": 100, "d_loss": 1.25}\n{"images": 200, "d_loss": 1.0}\n'


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    """A run of two checkpoints and two records, which stay to the byte whatever a test does."""
    storage = Storage(tmp_path / "run")
    for images in (100, 200):
        checkpoint.save(storage, {"images_seen": images}, keep=2)
    storage.write(METRICS, RECORDS)
    yield storage
    assert storage._read(METRICS) == RECORDS


def images(storage: Storage) -> list[int]:
    return [entry["images_seen"] for entry in checkpoint.index(storage)]


def failing(monkeypatch: pytest.MonkeyPatch, end: str, code: int) -> None:
    read = Storage.read

    def fail(storage: Storage, name: str) -> bytes:
        if name.endswith(end):
            raise OSError(code, "Input/output error")
        return read(storage, name)

    monkeypatch.setattr(Storage, "read", fail)


def test_a_wrong_digit_in_the_index_costs_no_checkpoint(storage: Storage) -> None:
    entry = checkpoint.index(storage)[-1]
    content = storage.read(entry["file"])
    text = storage.read_text(checkpoint.INDEX)
    digit = "1" if entry["sha256"][0] == "0" else "0"
    storage.write(checkpoint.INDEX, text.replace(entry["sha256"], digit + entry["sha256"][1:]))
    with pytest.warns(UserWarning, match="is damaged or missing"):
        assert (checkpoint.load_newest(storage) or {})["images_seen"] == 100
    for seen in (150, 160, 170):
        checkpoint.save(storage, {"images_seen": seen}, keep=2)
    assert images(storage) == [160, 170]
    assert storage.read(entry["file"]) == content
    # Once training has come as far again it is one of the newest, and goes like any other.
    for seen in (200, 250, 300):
        checkpoint.save(storage, {"images_seen": seen}, keep=2)
    assert checkpoint.files(storage) == ["images-000000000250.pt", "images-000000000300.pt"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize(
    "load",
    [
        lambda storage: checkpoint.load_newest(storage),
        lambda storage: recover_index(storage, lambda text: None),
    ],
    ids=["load", "recover"],
)
def test_what_cannot_be_read_now_is_an_error(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, code: int, load: Callable[[Storage], Any]
) -> None:
    recovers = "recover_index" in load.__code__.co_names
    if recovers:
        storage.delete(checkpoint.INDEX)
    failing(monkeypatch, "200.pt", code)
    with pytest.raises(UserError, match=r"200\.pt: cannot be read \(.*go on with --resume"):
        load(storage)
    assert len(checkpoint.files(storage)) == 2
    assert storage.exists(checkpoint.INDEX) != recovers


def test_a_rollback_to_the_beginning_is_not_undone_by_a_kill(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever change to the folder: what is recovered is no checkpoint that was dropped."""

    class KilledError(BaseException):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "write", kill)
        with pytest.raises(KilledError):
            checkpoint.forget_after(storage, -1)
    assert checkpoint.files(storage) == []
    checkpoint.forget_after(storage, -1)
    recover_index(storage, pytest.fail)
    assert images(storage) == []
    assert checkpoint.load_newest(storage) is None
