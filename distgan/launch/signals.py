"""Ctrl-C and SIGTERM as a request that the loop hears, not as an exception."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any, NoReturn

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}
"""What a shell expects of a program that such a signal ended."""


class StopRequest:
    """Between ``with`` and its end, SIGINT and SIGTERM set ``name``; a second one kills.

    Outside the main thread, where Python allows no handlers, it leaves them alone.

    Args:
        ends_process: whether a process that was asked to stop is over then, as a command is and
            a notebook is not; what it waits for may then be broken off.
    """

    def __init__(self, ends_process: bool = False) -> None:
        self.name, self.ends_process = "", ends_process
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        self.install()
        return self

    def install(self) -> None:
        """Take the signals, also back from a library that took them meanwhile, as Ray does."""
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
