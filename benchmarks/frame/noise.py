"""How busy others kept the machine while a side had its turn."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")

_GLANCE, _AT_REST = 0.25, 0.1
"""Seconds over which a machine is looked at, and its share that may be used by one at rest."""

KNOWN_HERE = (_PROC / "stat").exists()
"""Elsewhere than on Linux nothing is known, and every turn counts as undisturbed."""


@dataclass(frozen=True)
class Usage:
    """Processor seconds spent until now: by all, and by this process and its descendants.

    ``own`` holds by process its own seconds, and those of its children that ended and were
    waited for.
    """

    at: float
    everybody: float
    own: dict[int, tuple[float, float]]

    @staticmethod
    def now() -> Usage:
        """A reading; takes milliseconds."""
        now = time.perf_counter()
        return Usage(now, _everybody(), _own()) if KNOWN_HERE else Usage(now, 0.0, {})

    def busy_since(self, before: Usage) -> float:
        """Share of the machine's processor time that others took, in [0, 1]."""
        others = (self.everybody - before.everybody) - self.own_since(before)
        whole = (self.at - before.at) * (os.cpu_count() or 1)
        return min(max(others / whole, 0.0), 1.0)

    def own_since(self, before: Usage) -> float:
        """Processor seconds that this process and its descendants took."""
        nothing, was = (0.0, 0.0), before.own
        alive = sum(own - was.get(process, nothing)[0] for process, (own, _) in self.own.items())
        ended = sum(past - was.get(process, nothing)[1] for process, (_, past) in self.own.items())
        # Of those that ended, what they had spent before is no part of it; nobody has waited for
        # some of them.
        ended -= sum(sum(was[process]) for process in was.keys() - self.own.keys())
        return alive + max(ended, 0.0)


def wait_until_quiet(most: float) -> None:
    """Wait until nobody works, not this process's descendants either; ``most`` seconds at most.

    For a side whose processes go on for a while when its turn is over.
    """
    deadline = time.perf_counter() + most
    while KNOWN_HERE and time.perf_counter() < deadline:
        before = _everybody()
        time.sleep(_GLANCE)
        if _everybody() - before < _AT_REST * _GLANCE * (os.cpu_count() or 1):
            return


def _everybody() -> float:
    # user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the
    # first two already. Steal is what a hypervisor gave to other machines.
    first = (_PROC / "stat").read_text().split("\n", 1)[0]
    spent = [int(word) for word in first.split()[1:9]]
    return (sum(spent) - spent[3] - spent[4]) / _TICKS


def _own() -> dict[int, tuple[float, float]]:
    parents: dict[int, int] = {}
    seconds: dict[int, tuple[float, float]] = {}
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything.
            words = (folder / "stat").read_text().rpartition(")")[2].split()
            process = int(folder.name)
            parents[process] = int(words[1])
            user, system, past_user, past_system = map(int, words[11:15])
            seconds[process] = (user + system) / _TICKS, (past_user + past_system) / _TICKS
    return {process: spent for process, spent in seconds.items() if _descends(process, parents)}


def _descends(process: int, parents: dict[int, int]) -> bool:
    me = os.getpid()
    while process != me and process in parents:
        process = parents[process]
    return process == me
