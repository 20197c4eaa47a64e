"""SIGINT and SIGTERM as a request that the training loop polls, not as an exception."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

_early: list[str] = []
"""What `interrupts_kept` has heard of in the command that runs now."""

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}
"""Exit statuses by the shell's convention, 128 + the signal's number."""


class StopRequest:
    """A context manager in which SIGINT and SIGTERM set ``name``; a second signal kills.

    Outside the main thread, where Python allows no handlers, it does nothing.

    Args:
        ends_process: whether the process ends after the stop, as a command does and a notebook
            does not; only then may a wait be aborted.
    """

    def __init__(self, ends_process: bool = False) -> None:
        self.name, self.ends_process = "", ends_process
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self.install()
        if self.ends_process and _early:
            self.name = self.name or _early[0]
        return self

    def install(self) -> None:
        """Install the handlers, again if a library such as Ray has replaced them."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                previous = signal.signal(number, self._receive)
                self._previous.setdefault(number, previous)

    def leave(self) -> NoReturn:
        """End what was asked to stop as Python itself would have.

        Raises:
            KeyboardInterrupt: for SIGINT.
            SystemExit: for any other.
        """
        if self.name == "SIGINT":
            raise KeyboardInterrupt
        raise SystemExit(EXIT_CODES.get(self.name, 1))

    def ends(self) -> bool:
        """Whether the process is over once this was asked for, and it was."""
        return self.ends_process and bool(self.name)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.name:
            os._exit(EXIT_CODES[name])
        self.name = name


@contextlib.contextmanager
def interrupts_kept() -> Iterator[None]:
    """Keep Ctrl-C in mind while a command has not come to its `StopRequest` yet.

    It raises KeyboardInterrupt as always. Raised while modules are imported, in a bare ``except``
    of a library or in a destructor, that is lost; the next `StopRequest` that ends the process
    then begins as if the signal had just come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def receive(number: int, frame: FrameType | None) -> None:
        _early.append(signal.Signals(number).name)
        raise KeyboardInterrupt

    previous = signal.getsignal(signal.SIGINT)
    # Whoever ignores the signal, as a shell does for what it starts in the background, goes on so.
    if previous is signal.default_int_handler:
        signal.signal(signal.SIGINT, receive)
    try:
        yield
    finally:
        if previous is signal.default_int_handler:
            signal.signal(signal.SIGINT, previous)
        _early.clear()
