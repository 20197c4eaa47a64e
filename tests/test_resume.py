"""A run that is stopped and resumed ends as if it had never stopped, to the last bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq
import pytest
import torch

from distgan.data.images import PACKAGED
from distgan.runs import checkpoint, events, records
from distgan.runs.export import load_generator
from distgan.storage.storage import Storage

from .conftest import command
from .drill_nodes import Nodes

SET, IMAGES = 20_000, 64_000
"""Into the fourth epoch of a part of MNIST that no number of whole batches goes through."""
SETTINGS = [
    *("--output.checkpoint_every", "3200", "--output.log_every", "1600"),
    *("--output.keep_checkpoints", "3", "--generator.network.widths", "64,128"),
    *("--output.sample_every", "1M"),
]


def start(
    folder: Path,
    *arguments: str,
    stdout: int | IO[str] = subprocess.PIPE,
    nodes: Nodes | None = None,
) -> subprocess.Popen[str]:
    """`distgan train` in a process group of its own, as a shell starts it; or on nodes."""
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    words = command("train", *arguments)
    if nodes is not None:
        environment = nodes.environment
        words = nodes.command(*words, "--address", nodes.address)
    return subprocess.Popen(
        words,
        cwd=folder,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )


def wait_for(images: int, run: Path, process: subprocess.Popen[str]) -> None:
    """Until the run has recorded that many images."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = records.read(Storage(run)) if run.exists() else []
        if found and found[-1]["images"] >= images:
            return
        if process.poll() is not None:
            raise AssertionError(f"ended early: {process.communicate()[0]}")
        time.sleep(0.02)
    raise AssertionError(f"no {images} images within two minutes")


def final_state(run: Path) -> dict[str, Any]:
    state = checkpoint.load_newest(Storage(run))
    assert state is not None
    return state


def assert_identical(found: Any, expected: Any, where: str = "state") -> None:
    """Bit for bit, all the way down."""
    assert type(found) is type(expected), where
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_identical(found[key], value, f"{where}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for number, value in enumerate(expected):
            assert_identical(found[number], value, f"{where}.{number}")
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    else:
        assert found == expected, where


def processes_of_group(group: int) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "pgid,stat,args"], capture_output=True, text=True).stdout
    lines = [line.split(None, 2) for line in listed.splitlines()[1:]]
    return [args for pgid, stat, args in lines if int(pgid) == group and "Z" not in stat]


def workers_of(driver: int) -> list[int]:
    """Process ids of the workers that descend from a driver."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    parents = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found = [driver]
    for process in found:
        found += [child for child, parent in parents if parent == process]
    return [pid for pid in sorted(found) if "RayTrainWorker" in _title(pid)]


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _wait_for_the_end_of(group: int) -> None:
    deadline = time.monotonic() + 20
    while processes_of_group(group) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes_of_group(group)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "workers",
    # With two, a sum has one order only.
    [*(pytest.param(few, marks=pytest.mark.drill) for few in "12"), "3"],
)
def test_three_stops_and_a_lost_worker_change_no_bit(tmp_path: Path, workers: str) -> None:
    whole = pq.ParquetFile(PACKAGED["mnist"] / "train.parquet")
    part = whole.read_row_groups([0, 1, 2, 3, 4]).slice(0, SET)
    pq.write_table(part, tmp_path / "part.parquet", row_group_size=4096)
    options = ["mnist-mlp", *SETTINGS, "--workers", workers, "--data", "part.parquet"]
    straight = start(tmp_path, *options, "--images", str(IMAGES), "--out", "straight")
    output = straight.communicate(timeout=200)[0]
    assert straight.returncode == 0, output
    run = tmp_path / "stopped"

    # Ctrl-C, which a terminal sends to every process of the group.
    process = start(tmp_path, *options, "--images", str(IMAGES), "--out", "stopped")
    wait_for(3_200, run, process)
    os.killpg(process.pid, signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "distgan train --resume stopped" in output
    first = final_state(run)["images_seen"]
    assert 3_200 <= first < SET, "in the middle of the first epoch"

    # SIGTERM to the command alone, as a scheduler sends it.
    process = start(tmp_path, "--resume", "stopped", "--workers", workers)
    wait_for(first + 3_200, run, process)
    process.terminate()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 143, output
    second = final_state(run)["images_seen"]
    assert first < second < IMAGES - 12_800
    assert second % SET, "in the middle of an epoch"

    # SIGKILL of everything at once, after which nothing may be left running.
    process = start(tmp_path, "--resume", "stopped", "--workers", workers)
    wait_for(second + 4_800, run, process)
    group = process.pid
    os.killpg(group, signal.SIGKILL)
    process.communicate(timeout=30)
    _wait_for_the_end_of(group)

    # SIGKILL of a worker, after which the run goes on by itself.
    process = start(tmp_path, "--resume", "stopped", "--workers", workers)
    while len(json.loads((run / "environment.json").read_text())["starts"]) < 4:
        assert process.poll() is None
        time.sleep(0.05)
    wait_for(final_state(run)["images_seen"] + 3_200, run, process)
    os.kill(workers_of(process.pid)[-1], signal.SIGKILL)
    output = process.communicate(timeout=200)[0]
    assert process.returncode == 0, output
    assert "going on from" in output
    assert "lost (its process was killed); starting again (1 of 3 without" in output
    lost, restarted = events.read(Storage(run))
    assert (lost["kind"], restarted["kind"]) == ("worker lost", "restarted")
    assert restarted["workers"] == int(workers)
    # None, where the worker was lost just after a checkpoint.
    assert 0 <= restarted["images_repeated"] < IMAGES
    assert not [file for file in run.rglob("*") if file.name.endswith(".tmp")]
    _wait_for_the_end_of(process.pid)

    assert_identical(final_state(run), final_state(tmp_path / "straight"))
    both = [records.read(Storage(folder)) for folder in (run, tmp_path / "straight")]
    times = ("images_per_second", "data_wait", "bytes_per_image")
    stripped = [[{k: v for k, v in r.items() if k not in times} for r in found] for found in both]
    assert stripped[0] == stripped[1]
    assert torch.equal(
        load_generator(str(run)).sample(4), load_generator(str(tmp_path / "straight")).sample(4)
    )


@pytest.mark.slow
@pytest.mark.ray
def test_a_stop_while_workers_start(tmp_path: Path) -> None:
    process = start(tmp_path, *SETTINGS, "--images", "100k", "--workers", "1", "--out", "run")
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(4)]
    assert [said[2], said[3][:12]] == ["starting Ray\n", "1 worker of "]
    os.killpg(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=60)[0].splitlines()
    # How far it had come.
    rest = [line for line in rest if line not in ("loading the data", "starting the workers")]
    assert process.returncode == 130
    assert rest == [
        "stopped by SIGINT before the first update",
        "  go on      distgan train --resume run",
    ]
    _wait_for_the_end_of(process.pid)


@pytest.mark.drill
@pytest.mark.slow
@pytest.mark.ray
def test_a_run_goes_on_without_ray_and_with_other_workers(tmp_path: Path, cluster: str) -> None:
    options = ["--precision", "float64", *SETTINGS, "--address", cluster]
    begin, go_on = [*options, "--out"], ["--address", cluster, "--resume"]
    for words in (
        [*begin, "one", "--images", "12800", "--workers", "0"],
        [*begin, "mixed", "--images", "6400", "--workers", "0"],
        [*go_on, "mixed", "--images", "12800", "--workers", "3"],
    ):
        process = start(tmp_path, *words)
        assert process.wait(timeout=120) == 0, process.communicate()[0]
    expected = final_state(tmp_path / "one")
    found = final_state(tmp_path / "mixed")
    assert found["images_seen"] == expected["images_seen"] == 12_800
    for kind in ("networks", "averages"):
        for role, tensors in expected[kind].items():
            for key, tensor in tensors.items():
                assert (found[kind][role][key] - tensor).norm() <= 1e-10 * tensor.norm()
