"""A second process for those that train in two.

It does one update whenever the first does, and ends with it: both hold an end of a pipe.

    python -m benchmarks.peers.pair MODULE WORKLOAD THREADS PRECISION
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist

from benchmarks.peers.contest import Task

_SECOND = "DISTGAN_BENCHMARK_MEETS_AT"
# Between two turns one waits for the other.
_PATIENCE = timedelta(hours=12)


def is_second() -> bool:
    """Whether this is the process that follows."""
    return _SECOND in os.environ


class Pair:
    """Two processes of a gloo group: this one, and one that runs the same ``build``."""

    def __init__(self, module: str, task: Task) -> None:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        meet = os.environ.get(_SECOND) or str(Path(tempfile.mkdtemp()) / "meet")
        self._other: subprocess.Popen[bytes] | None = None
        if not is_second():
            self._other = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    __name__,
                    module,
                    task.name,
                    str(task.threads),
                    task.precision,
                ],
                stdin=subprocess.PIPE,
                env={**os.environ, _SECOND: meet},
            )
        dist.init_process_group(
            "gloo", f"file://{meet}", _PATIENCE, rank=int(is_second()), world_size=2
        )

    def start(self) -> None:
        """Have the other one do an update too."""
        if self._other is not None:
            assert self._other.stdin is not None
            self._other.stdin.write(b".")
            self._other.stdin.flush()


def main() -> None:
    """Follow."""
    module, name, threads, precision = sys.argv[1:]
    built = importlib.import_module(f"benchmarks.peers.{module}")
    task = Task(name, int(threads), precision)
    options = ("ranks",) if module == "ours" else ()
    work = built.build(task, *options).work
    while sys.stdin.buffer.read(1):
        work()


if __name__ == "__main__":
    main()
