"""Small messages between the driver and rank 0, through the cluster's own key-value store.

The store is part of every Ray cluster, so this needs no actor, whose process would cost
a second at the start. Each key holds the newest message only.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_put

from distgan.loop import Status

_NAMESPACE = "distgan"
_SECONDS_BETWEEN_CALLS = 0.5


class Mailbox:
    """The messages of one run, named by a key that its driver chose."""

    def __init__(self, key: str) -> None:
        self.key = key

    def put(self, topic: str, message: Any) -> None:
        """Replace the message under a topic; anything JSON can hold."""
        _internal_kv_put(f"{self.key}/{topic}", json.dumps(message), namespace=_NAMESPACE)

    def get(self, topic: str) -> Any:
        """The message under a topic, or None."""
        content = _internal_kv_get(f"{self.key}/{topic}", namespace=_NAMESPACE)
        return None if content is None else json.loads(content)

    def clear(self) -> None:
        """Remove all messages of the run."""
        _internal_kv_del(self.key, del_by_prefix=True, namespace=_NAMESPACE)


class MailboxControl:
    """Rank 0's end: a thread exchanges messages, so the loop never waits for a call."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._status: Status | None = None
        self._notes: list[str] = []
        self._stop = ""
        self.export: Callable[[Status], None] = lambda _: None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._exchange, daemon=True)
        self._thread.start()

    def report(self, status: Status) -> None:
        """Keep the newest status for the next exchange."""
        self._status = status

    def note(self, text: str) -> None:
        """Keep a line for the next exchange."""
        self._notes.append(text)

    def stop_signal(self) -> str:
        """The signal that the driver last passed on."""
        return self._stop

    def __enter__(self) -> MailboxControl:
        return self

    def __exit__(self, *_: object) -> None:
        # Sends what is left.
        self._closed.set()
        self._thread.join()

    def _exchange(self) -> None:
        sent: Status | None = None
        last = False
        while not last:
            last = self._closed.wait(_SECONDS_BETWEEN_CALLS)
            if self._status is not sent and self._status is not None:
                sent = self._status
                self.export(sent)
                self._mailbox.put("news", {"status": asdict(sent), "notes": self._notes})
            self._stop = self._mailbox.get("stop") or ""
