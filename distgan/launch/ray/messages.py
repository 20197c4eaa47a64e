"""Small messages between driver, rank 0 and controller; of each topic the newest only."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import ray

from distgan.launch.ray import private
from distgan.training.control import PREEMPTION, Status

_NAMESPACE = "distgan"
_SECONDS_BETWEEN_CALLS = 0.5
_SECONDS_TO_SEND_THE_REST = 10
_SECONDS_TO_ANSWER = 30


class Channel(Protocol):
    """The messages of one run. Travels to its workers by pickle."""

    def put(self, topic: str, message: Any) -> None:
        """Replace the message under a topic; anything JSON can hold."""

    def get(self, topic: str) -> Any:
        """The message under a topic, or None."""

    def remove(self, topic: str) -> None:
        """Remove the message under a topic."""

    def clear(self) -> None:
        """Remove all messages of the run."""


def cluster_mailbox(key: str) -> Channel:
    """The messages of a run on a cluster of several machines; its driver makes it first.

    Args:
        key: names the run; its driver chooses it.
    """
    if private.usable():
        from distgan.launch.ray.private.core import KeyValueMailbox

        # No process of its own, which would cost a second at the start.
        return KeyValueMailbox(key)
    return ActorMailbox(key)


class ActorMailbox:
    """Through an actor of that name, which lives as long as the job of who made it first."""

    def __init__(self, key: str) -> None:
        options = {"name": key, "namespace": _NAMESPACE, "get_if_exists": True}
        self._actor = _Messages.options(**options).remote()  # type: ignore[attr-defined]

    def put(self, topic: str, message: Any) -> None:
        """Replace the message under a topic; anything JSON can hold."""
        self._ask("put", topic, json.dumps(message))

    def get(self, topic: str) -> Any:
        """The message under a topic, or None."""
        content = self._ask("get", topic)
        return None if content is None else json.loads(content)

    def remove(self, topic: str) -> None:
        """Remove the message under a topic."""
        self._ask("remove", topic)

    def clear(self) -> None:
        """Remove all messages of the run."""
        self._ask("clear")

    def _ask(self, method: str, *words: str) -> Any:
        return ray.get(getattr(self._actor, method).remote(*words), timeout=_SECONDS_TO_ANSWER)


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=1)
class _Messages:
    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def put(self, topic: str, content: str) -> None:
        self._kept[topic] = content

    def get(self, topic: str) -> str | None:
        return self._kept.get(topic)

    def remove(self, topic: str) -> None:
        self._kept.pop(topic, None)

    def clear(self) -> None:
        self._kept.clear()


class FolderMailbox:
    """Through files, on one machine: no process between has to wake for a message.

    Args:
        folder: is made where it is missing.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)

    def put(self, topic: str, message: Any) -> None:
        """Replace the message under a topic; anything JSON can hold."""
        unfinished = self._folder / f".{topic}"
        unfinished.write_text(json.dumps(message))
        unfinished.replace(self._folder / topic)

    def get(self, topic: str) -> Any:
        """The message under a topic, or None."""
        try:
            return json.loads((self._folder / topic).read_text())
        except FileNotFoundError:
            return None

    def remove(self, topic: str) -> None:
        """Remove the message under a topic."""
        (self._folder / topic).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all messages of the run."""
        for message in self._folder.iterdir():
            message.unlink(missing_ok=True)


class MailboxControl:
    """Rank 0's end: a thread exchanges messages, so the loop never waits for a call.

    Args:
        start: names this start of the workers among those of the run.
        workers: how many there are now.
        preempted: whether notice was given that a machine will be taken away.
        export: takes every new status, for who watches the cluster.
    """

    def __init__(
        self,
        channel: Channel,
        start: str,
        workers: int,
        preempted: Callable[[], bool],
        export: Callable[[Status], None],
    ) -> None:
        self._mailbox, self._preempted, self._export = channel, preempted, export
        self._who = {"start": start, "workers": workers}
        self._status: Status | None = None
        self._notes: list[tuple[str, str]] = []
        self._stop = ""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._exchange, daemon=True)
        self._thread.start()

    def report(self, status: Status) -> None:
        """Keep the newest status for the next exchange."""
        self._status = status

    def note(self, text: str, kind: str = "") -> None:
        """Keep a line for the next exchange."""
        self._notes.append((text, kind))

    def stop_signal(self) -> str:
        """What the driver or the controller asks to stop for, or that notice was given."""
        return self._stop or (PREEMPTION if self._preempted() else "")

    def __enter__(self) -> MailboxControl:
        return self

    def __exit__(self, *_: object) -> None:
        # Sends what is left.
        self._closed.set()
        self._thread.join(_SECONDS_TO_SEND_THE_REST)

    def _exchange(self) -> None:
        sent: tuple[Status | None, int] = (None, 0)
        last = False
        while not last:
            last = self._closed.wait(_SECONDS_BETWEEN_CALLS)
            news = (self._status, len(self._notes))
            # The head of the cluster may be away for a moment, or a disk be full.
            with contextlib.suppress(Exception):
                if news != sent:
                    if news[0] is not None:
                        self._export(news[0])
                    status = None if news[0] is None else asdict(news[0])
                    notes = self._notes[: news[1]]
                    self._mailbox.put("news", {**self._who, "status": status, "notes": notes})
                    sent = news
            with contextlib.suppress(Exception):
                self._stop = self._mailbox.get("stop") or self._mailbox.get("resize") or ""
