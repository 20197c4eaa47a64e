"""Runs that lose workers, their driver, their disk or a checkpoint end as if they had not."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distgan.runs import checkpoint
from distgan.storage.storage import Storage

from .drills import TABLE, drill, undisturbed_run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.drill]

IMAGES = ("--images", "60000", "--workers", "2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last checkpoint of a run that nothing happens to."""
    return undisturbed_run(tmp_path_factory.mktemp("undisturbed"), *IMAGES)


@pytest.mark.parametrize("rank", [0, 1])
def test_kill_a_worker(tmp_path: Path, undisturbed: dict[str, Any], rank: int) -> None:
    with drill(tmp_path, "run", *IMAGES) as run:
        run.wait_for(30_000)
        run.strike(which=rank)
        run.finish()
        run.nothing_is_left()
        run.report(f"SIGKILL worker {rank}", undisturbed, time.monotonic() - run.before)


@pytest.mark.parametrize("rank", [0, 1])
def test_freeze_a_worker(tmp_path: Path, undisturbed: dict[str, Any], rank: int) -> None:
    with drill(tmp_path, "run", *IMAGES) as run:
        run.wait_for(30_000)
        run.strike(signal.SIGSTOP, which=rank)
        assert "no answer for 60 s" in run.finish()
        run.nothing_is_left()
        run.report(f"SIGSTOP worker {rank}", undisturbed, time.monotonic() - run.before)


def test_kill_the_driver(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with drill(tmp_path, "run", *IMAGES) as run:
        run.wait_for(30_000)
        struck = time.monotonic()
        run.process.kill()
        run.process.wait()
        killed, seen = run.process.pid, run.seen
        run.begin()
        run.wait_for_line("going on from")
        run.until(lambda: run.seen != seen, "progress", 60)
        lost = time.monotonic() - struck
        run.finish()
        run.nothing_is_left()
        # Two of Ray's agents look for the head that is gone for a minute.
        run.nothing_is_left(killed, seconds=90)
        run.report(f"SIGKILL driver, --resume ({lost:.0f} s)", undisturbed, 0)


def test_damage_the_newest_checkpoint(tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    with drill(tmp_path, "run", *IMAGES) as run:
        run.wait_for(46_000)
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait()
        newest = checkpoint.index(Storage(run.run))[-1]
        file = run.run / newest["file"]
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        run.begin()
        assert "is damaged or missing; using the one before" in run.finish()
        assert [event["kind"] for event in run.events()] == ["checkpoint damaged"]
        run.report("newest checkpoint damaged", undisturbed, time.monotonic() - run.before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 160 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_fill_the_disk(small_disk: Path, undisturbed: dict[str, Any]) -> None:
    with drill(small_disk, "run", *IMAGES) as run:
        run.wait_for(30_000)
        with (small_disk / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass
        run.wait_for_line("storage fails: .*no space left")
        time.sleep(15)
        (small_disk / "filler").unlink()
        run.wait_for_line("storage is back after")
        run.finish()
        run.nothing_is_left()
        back = run.events("storage back")[0]["text"]
        run.report(f"disk full ({back})", undisturbed, time.monotonic() - run.before)


def test_stop_while_it_starts(tmp_path: Path) -> None:
    """At 30 random moments, from the start of Python to the first update.

    The seconds are told, not required: they depend on what else the machine does.
    """
    with drill(tmp_path, "run", *IMAGES) as run:
        run.wait_for(1)
        whole = time.monotonic() - run.before
        run.process.terminate()
        run.process.wait(60)
    chance, took = random.Random(11), []
    for turn in range(30):
        number = chance.choice([signal.SIGINT, signal.SIGTERM])
        with drill(tmp_path, f"run-{turn}", *IMAGES) as run:
            time.sleep(chance.uniform(0, whole))
            struck = time.monotonic()
            run.process.send_signal(number)
            run.process.wait(60)
            took.append(time.monotonic() - struck)
            # As a stopped run, or, before there was a handler, as Python ends.
            assert run.process.returncode in (130, 143, -number), run.text
            assert "Traceback" not in run.text or "KeyboardInterrupt" in run.text
            run.nothing_is_left()
    worst, middle = max(took), statistics.median(took)
    what = f"30 stops while it starts ({whole:.1f} s): {middle:.1f} s, at worst {worst:.1f} s"
    TABLE.append((what, "", "", "", f"{sum(took):.0f}", ""))


def test_twenty_kills(tmp_path: Path) -> None:
    options = ("--images", "120000", "--workers", "2")
    expected = undisturbed_run(tmp_path, *options)
    chance = random.Random(7)
    with drill(tmp_path, "run", *options, "--max-failures", "20") as run:
        for number in range(20):
            run.until(lambda n=number: run.starts > n, "start", 90)
            time.sleep(chance.uniform(0, 4))
            run.strike(which=chance.choice([0, 1]))
        run.finish(500)
        run.nothing_is_left()
        assert len(run.events("worker lost")) == 20
        run.report("20 SIGKILLs", expected, time.monotonic() - run.before)
