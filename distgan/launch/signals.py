"""Ctrl-C and SIGTERM as a request that the loop hears, not as an exception."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

EXIT_CODES = {"SIGINT": 130, "SIGTERM": 143}
"""What a shell expects of a program that such a signal ended."""


class StopRequest:
    """Between ``with`` and its end, SIGINT and SIGTERM set ``name``; a second one kills.

    Outside the main thread, where Python allows no handlers, it leaves them alone.
    """

    def __init__(self) -> None:
        self.name = ""
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

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.name:
            os._exit(EXIT_CODES[name])
        self.name = name
