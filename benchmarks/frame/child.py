"""Runs a benchmark's module in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_CHECKOUT = Path(__file__).parents[2]
_PATIENCE = 5.0
STOPPED = 130


def run(name: str, words: Sequence[str]) -> int:
    """Run `python -m benchmarks.NAME` in the current folder.

    Returns:
        its exit status; `STOPPED` after Ctrl-C, once it has ended too.
    """
    path = os.pathsep.join(filter(None, (str(_CHECKOUT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", f"benchmarks.{name}", *words]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal's Ctrl-C reaches it too; a signal to this process alone does not.
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.wait()
        return STOPPED
