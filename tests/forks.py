"""`distgan` in a process of its own that starts with the libraries imported already.

Importing them takes two seconds, most of what a command that meets a mistake does. Neither
distgan is among them, which each command is to import by itself, nor Ray, which reads its
environment then.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

LIBRARIES = [
    *("numpy", "torch", "torch._dynamo", "torch.distributed", "pydantic", "yaml", "rich.console"),
    *("pyarrow.parquet", "pyarrow.fs", "PIL.Image", "safetensors.torch", "tensorboardX"),
]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(LIBRARIES)


def run(
    arguments: tuple[str, ...], folder: Path, timeout: float, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """What `distgan` with these arguments said and returned, run in a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        words = (arguments, str(folder), dict(environment), str(out), str(err))
        process = _context.Process(target=_enter, args=words)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(["distgan", *arguments], timeout, out.read_text())
        status = process.exitcode
        return subprocess.CompletedProcess(
            ["distgan", *arguments], status, out.read_text(), err.read_text()
        )


def _enter(
    arguments: tuple[str, ...], folder: str, environment: dict[str, str], out: str, err: str
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        stream.flush()
        file = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, stream.fileno())
    sys.argv = ["distgan", *arguments]
    from distgan.cli import main

    try:
        sys.exit(main())
    finally:
        # Processes of multiprocessing end without them.
        atexit._run_exitfuncs()
