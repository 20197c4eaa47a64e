"""Ctrl-C before a command has come to its own handlers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distgan.launch.signals import StopRequest, interrupts_kept

pytestmark = pytest.mark.alone


def _swallowed() -> None:
    with contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_a_library_swallows_stops_the_command() -> None:
    with interrupts_kept():
        _swallowed()
        with StopRequest(ends_process=True) as stop:
            assert stop.name == "SIGINT"
        with StopRequest() as other:
            assert other.name == ""
    with interrupts_kept(), StopRequest(ends_process=True) as stop:
        assert stop.name == ""


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_kept():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with StopRequest(ends_process=True):
            pass
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_kept():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


_TRAIN = """
import os, signal, sys
from distgan.data import identity
from distgan.cli import main
found = identity.everywhere
def swallows(data):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
    return found(data)
identity.everywhere = swallows
sys.exit(main(["train", "--workers", "0", "--images", "100M", "--out", sys.argv[1]]))
"""


@pytest.mark.slow
def test_train_stops_before_the_first_update(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", _TRAIN, str(out)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130, done.stdout + done.stderr
    assert "stopped by SIGINT" in done.stdout
