"""A run that things are done to, and what came of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distgan.runs import checkpoint, events, records
from distgan.storage.storage import Storage

from .drill_nodes import Nodes
from .test_resume import assert_identical, final_state, processes_of_group, start, workers_of

TABLE: list[tuple[str, ...]] = []
"""Rows of what was found, shown at the end of the session by ``conftest.py``."""

OPTIONS = ("mnist-mlp-tutorial", "--output.checkpoint_every", "20000", "--output.log_every", "2000")


@dataclass
class Drill:
    """`distgan train` in a process group of its own, writing to ``run``."""

    folder: Path
    name: str
    arguments: tuple[str, ...]
    nodes: Nodes | None = None
    process: subprocess.Popen[str] = field(init=False)
    output: str = ""
    before: float = field(default_factory=time.monotonic)

    @property
    def run(self) -> Path:
        return self.folder / self.name

    def begin(self) -> None:
        there = (self.run / "config.yaml").exists()
        where = ("--resume", self.name) if there else (*OPTIONS, "--out", self.name)
        arguments = [a for a in self.arguments if not there or a not in OPTIONS]
        self.log = self.folder / f"{self.name}.log"
        with self.log.open("a") as log:
            self.process = start(self.folder, *where, *arguments, stdout=log, nodes=self.nodes)

    def wait_for(self, images: int, seconds: float = 180) -> None:
        self.until(lambda: self.seen >= images, f"{images} images", seconds)

    def wait_for_line(self, pattern: str, seconds: float = 180) -> None:
        self.until(lambda: re.search(pattern, self.text) is not None, pattern, seconds)

    def until(self, done: Any, what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            assert self.process.poll() is None, f"ended early:\n{self.text}"
            assert time.monotonic() < deadline, f"no {what} in {seconds} s:\n{self.text}"
            time.sleep(0.02)

    @property
    def seen(self) -> int:
        found = records.read(Storage(self.run)) if self.run.exists() else []
        return int(found[-1]["images"]) if found else 0

    @property
    def starts(self) -> int:
        """How often training began."""
        file = self.run / "environment.json"
        return len(json.loads(file.read_text())["starts"]) if file.exists() else 0

    @property
    def text(self) -> str:
        return self.log.read_text()

    def workers(self) -> list[int]:
        """Their process ids, by age."""
        return workers_of(self.process.pid)

    def strike(self, number: signal.Signals = signal.SIGKILL, which: int = -1) -> None:
        self.until(lambda: len(self.workers()) > 1, "workers", 60)
        os.kill(self.workers()[which], number)

    def finish(self, seconds: float = 280) -> str:
        self.process.wait(timeout=seconds)
        assert self.process.returncode == 0, self.text
        return self.text

    def nothing_is_left(self, group: int | None = None, seconds: float = 20) -> None:
        """See that no process of a group, this run's by default, is there for longer."""
        deadline = time.monotonic() + seconds
        group = group or self.process.pid
        while (left := processes_of_group(group)) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left
        assert not [f for f in self.run.rglob("*") if f.name.endswith(".tmp")]

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        return [e for e in events.read(Storage(self.run)) if not kinds or e["kind"] in kinds]

    def report(self, what: str, expected: dict[str, Any], seconds: float) -> None:
        """Compare the end with an undisturbed run's, and add a row to the table."""
        assert_identical(final_state(self.run), expected)
        self.add_row(what, seconds)

    def add_row(self, what: str, seconds: float) -> None:
        """Tell of what it took."""
        again = self.events("restarted", "resized")
        repeated = sum(event["images_repeated"] for event in again)
        stood = sum(event["seconds"] for event in again)
        newest = checkpoint.index(Storage(self.run))[-1]["images_seen"]
        facts = (len(again), f"{stood:.0f}", f"{repeated:,}", f"{seconds:.0f}", f"{newest:,}")
        TABLE.append((what, *map(str, facts)))


def undisturbed_run(folder: Path, *arguments: str) -> dict[str, Any]:
    """The last checkpoint of a run that nothing happens to.

    ``DISTGAN_UNDISTURBED`` names a folder that keeps it from one session to the next.
    """
    folder = Path(os.environ.get("DISTGAN_UNDISTURBED", folder))
    name = "-".join(("run", *arguments)).replace("--", "")
    if not (folder / name / "generator.json").exists():
        with drill(folder, name, *arguments) as run:
            run.finish()
            run.nothing_is_left()
    return final_state(folder / name)


@contextmanager
def drill(folder: Path, name: str, *arguments: str, nodes: Nodes | None = None) -> Iterator[Drill]:
    """A run that is begun, and ended with all its processes whatever happens."""
    found = Drill(folder, name, arguments, nodes)
    found.begin()
    try:
        yield found
    finally:
        if found.process.poll() is None:
            os.killpg(found.process.pid, signal.SIGKILL)
            found.process.wait()
