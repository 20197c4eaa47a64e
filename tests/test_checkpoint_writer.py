"""Checkpoints written beside the training: what was so when asked for, and nothing lost."""

from __future__ import annotations

import io
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import distgan
from distgan.config import settings
from distgan.errors import UserError
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.runs import checkpoint, records
from distgan.runs.checkpoint import Writer
from distgan.runs.snapshot import snapshot
from distgan.storage.storage import Storage


def state(images: int, value: float = 0.0) -> dict[str, Any]:
    network = torch.nn.BatchNorm1d(3)
    return {
        "images_seen": images,
        "network": network.state_dict(),
        "optimizer": {"state": {0: {"step": torch.tensor(value)}}, "betas": (0.5, 0.999)},
        "ranks": [{"statistics": torch.full((4,), value)}],
    }


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "run")


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if "checkpoints" in thread.name]


class Gate:
    """Holds the thread until it is opened; then raises what it was given, if anything."""

    def __init__(self, error: Exception | None = None) -> None:
        self.open = threading.Event()
        self._error = error

    def __call__(self) -> None:
        assert self.open.wait(20)
        if self._error is not None:
            raise self._error


def test_what_is_written_is_the_state_when_it_was_saved(storage: Storage) -> None:
    gate, changing = Gate(), state(100, 1.0)
    with Writer(storage, keep=2) as writer:
        writer.save(changing, first=gate)
        changing["optimizer"]["state"][0]["step"].add_(1)
        changing["ranks"][0]["statistics"].zero_()
        changing["network"]["weight"].zero_()
        changing["network"]["num_batches_tracked"].add_(1)
        changing["ranks"].append("another")
        assert checkpoint.load_newest(storage) is None
        gate.open.set()
        writer.wait()
        found = checkpoint.load_newest(storage)
    assert found is not None
    assert found["optimizer"] == {"state": {0: {"step": torch.tensor(1.0)}}, "betas": (0.5, 0.999)}
    assert len(found["ranks"]) == 1
    assert found["ranks"][0]["statistics"].tolist() == [1.0] * 4
    assert found["network"]["weight"].tolist() == [1.0] * 3
    assert found["network"]["num_batches_tracked"] == 0
    assert found["network"]._metadata == changing["network"]._metadata


def test_a_snapshot_keeps_layout_type_and_all_bits() -> None:
    image = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=torch.channels_last)
    copied = snapshot({"image": torch.nn.Parameter(image)})["image"]
    assert torch.equal(copied, image)
    assert copied.stride() == image.stride()
    assert copied.dtype == image.dtype
    assert not copied.requires_grad
    assert copied.data_ptr() != image.data_ptr()


def test_saves_in_a_row_all_arrive_and_the_last_are_kept(storage: Storage) -> None:
    indexed = []
    with Writer(storage, keep=2) as writer:
        for images in (100, 200, 300):
            writer.save(state(images), lambda: indexed.append(len(checkpoint.index(storage))))
    assert indexed == [0, 1, 2], "each begins when the one before is in the index"
    assert [entry["images_seen"] for entry in checkpoint.index(storage)] == [200, 300]
    assert storage.names(checkpoint.FOLDER) == [
        *("images-000000000200.pt", "images-000000000300.pt", "index.json")
    ]


@pytest.mark.parametrize("call", ["save", "check", "wait", "leave"])
def test_an_error_is_raised_by_the_next_call_and_once(storage: Storage, call: str) -> None:
    calls = {
        "save": lambda: writer.save(state(300)),
        "check": lambda: writer.check(),
        "wait": lambda: writer.wait(),
        "leave": lambda: writer.__exit__(None, None, None),
    }
    gate = Gate(UserError("disk: no space left"))
    with Writer(storage, keep=2) as writer:
        writer.save(state(100))
        writer.save(state(200), first=gate)
        writer.check()  # Not known yet.
        in_flight = writer._in_flight
        gate.open.set()
        assert in_flight is not None
        in_flight.exception(20)
        with pytest.raises(UserError, match="disk: no space left"):
            calls[call]()
        writer.wait()
    assert [entry["images_seen"] for entry in checkpoint.index(storage)] == [100]
    found = checkpoint.load_newest(storage)
    assert found is not None
    assert found["images_seen"] == 100


def diverge(writer: Writer, first: Gate) -> None:
    with writer:
        writer.save(state(100), first)
        raise UserError("training diverged")


def test_an_error_of_the_training_leaves_the_checkpoint_whole(storage: Storage) -> None:
    gate = Gate()
    gate.open.set()
    with pytest.raises(UserError, match="diverged"):
        diverge(Writer(storage, keep=2), gate)
    assert checkpoint.load_newest(storage) is not None


def test_an_error_beside_one_of_the_training_is_noted(storage: Storage) -> None:
    gate, notes = Gate(UserError("disk: no space left")), list[str]()
    gate.open.set()
    with pytest.raises(UserError, match="diverged"):
        diverge(Writer(storage, 2, notes.append), gate)
    assert notes == ["the last checkpoint is missing: disk: no space left"]


def small_run(**more: Any) -> Any:
    changes = {"images": 1_280, "output.checkpoint_every": 256, "output.keep_checkpoints": 3}
    widths = {f"{player}.network.widths": [16] for player in ("generator", "discriminator")}
    return settings.override(recipe("mnist-mlp-tutorial"), {**changes, **widths, **more})


def test_a_run_writes_in_the_thread_and_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    save = checkpoint.save

    def spied(*arguments: Any) -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", spied)
    out = str(tmp_path / "run")
    distgan.train(small_run(), out=out, workers=0, device="cpu")
    assert threads
    assert not any(threads)
    kept = [entry["images_seen"] for entry in checkpoint.index(Storage(out))]
    assert kept == [768, 1_024, 1_280]


def test_a_run_need_not_save_again_to_learn_of_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = []

    def fail(storage: Storage, contents: dict[str, Any], keep: int) -> str:
        begun.append(contents["images_seen"])
        raise UserError("disk: no space left")

    monkeypatch.setattr(checkpoint, "save", fail)
    config = small_run(images=10_000_000, **{"output.checkpoint_every": 64_000})
    with pytest.raises(UserError, match="disk: no space left"):
        distgan.train(config, out=str(tmp_path / "run"), workers=0, device="cpu")
    assert begun == [64_000]


@pytest.mark.parametrize("evaluates", [False, True])
def test_no_state_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluates: bool
) -> None:
    """Neither the last one, nor one that was written because its evaluation is the best."""
    written = []
    save = checkpoint.save

    def spied(storage: Storage, contents: dict[str, Any], keep: int) -> str:
        written.append((contents["images_seen"], contents.get("score")))
        return save(storage, contents, keep)

    monkeypatch.setattr(checkpoint, "save", spied)
    more = {"evaluate.every": 256, "evaluate.num": 100, "evaluate.metrics": "sliced"}
    config = small_run(images=768, **(more if evaluates else {}))
    distgan.train(config, out=str(tmp_path / "run"), workers=0, device="cpu")
    assert [images for images, _ in written] == [256, 512, 768]
    assert all((score is not None) == evaluates for _, score in written)


class Second(World):
    """Rank 1 of two, the other of which sees a checkpoint after 100 images."""

    def gather(self, value: Any) -> list[Any]:
        return [100, value]


def test_a_rank_that_sees_the_index_before_the_file_looks_again(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS shows them to another machine."""
    name, pauses = checkpoint.save(storage, state(100), keep=2), list[float]()
    content = storage.read(name)
    storage.delete(name)

    def appear(seconds: float) -> None:
        pauses.append(seconds)
        storage.write(name, content)

    monkeypatch.setattr("distgan.runs.checkpoint.time.sleep", appear)
    found = checkpoint.load_together(storage, Second(1, 2), lambda text: None)
    assert found is not None
    assert found["images_seen"] == 100
    assert pauses == [1]


def test_a_rank_that_never_sees_the_file_ends_the_run_as_such(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.delete(checkpoint.save(storage, state(100), keep=2))
    monkeypatch.setattr("distgan.runs.checkpoint.time.sleep", lambda seconds: None)
    with pytest.raises(UserError, match=r"not show the same .*newest are at 100, no images"):
        checkpoint.load_together(storage, Second(1, 2), lambda text: None)
    # What all of them find damaged is told at once.
    with pytest.raises(UserError, match="holds no whole checkpoint"):
        checkpoint.load_together(storage, World(), lambda text: None)


def test_a_save_copies_the_file_no_more_than_once(storage: Storage) -> None:
    """A state lies in memory as its snapshot and as the file's bytes, and not a third time."""
    large = {"images_seen": 1, "weights": torch.zeros(2**22)}
    tracemalloc.start()
    checkpoint.save(storage, large, keep=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A buffer that grows takes up to an eighth more than is in it.
    assert peak < 1.5 * large["weights"].nbytes


def test_events_that_are_given_up_meanwhile_end_no_checkpoint(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = records._Events(storage, 0)
    events.add(1, {"images": 1, "loss": 1.0})
    writer = events._open
    assert writer is not None
    found = iter([writer])
    # The loop gives them up between two looks of the thread that saves.
    open_ = property(lambda self: next(found, None), lambda self, value: None)
    monkeypatch.setattr(records._Events, "_open", open_, raising=False)
    events.publish()
    writer.close()


def test_bytes_do_not_depend_on_which_texts_are_one_object() -> None:
    one = "".join(("heal", "thy"))
    apart = {"states": ["".join(("heal", "thy")), one], "".join(("heal", "thy")): one}
    alike = {"states": [one, one], one: one}
    made = []
    for state in (apart, alike):
        buffer = io.BytesIO()
        torch.save(snapshot(state), buffer)
        made.append(buffer.getvalue())
    assert made[0] == made[1]
