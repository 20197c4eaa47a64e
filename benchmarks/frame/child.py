"""Runs a benchmark's module in a process of its own."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from distgan.cli.bench import start_module

_CHECKOUT = Path(__file__).parents[2]
_PATIENCE = 5.0
STOPPED = 130


def run(name: str, words: Sequence[str]) -> int:
    """Run `python -m benchmarks.NAME` in the current folder.

    Returns:
        its exit status; `STOPPED` after Ctrl-C, once it has ended too.
    """
    process = start_module(f"benchmarks.{name}", words, _CHECKOUT)
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
