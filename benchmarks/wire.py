"""A network of two nodes on one machine: two namespaces and a link of stated bandwidth.

The link is a pair of veth devices, each behind a token bucket (`tc`'s ``tbf``). Its latency is
that of veth, some ten microseconds: adding more takes the kernel's ``netem``, which many lack.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

DEVICE = "eth0"
"""Of the link, in either namespace."""
_NEWNET = 0x40000000


def _do(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def impossible() -> str:
    """Why there can be no such network here, or nothing."""
    if not shutil.which("ip") or not shutil.which("tc"):
        return "it takes `ip` and `tc` (iproute2)"
    try:
        with Wire() as wire:
            wire.limit(1e6)
    except OSError as error:
        return f"it takes root and the kernel's tbf ({error})"
    return ""


class Wire:
    """Two namespaces, at 10.78.x.1 and .2, and what connects them."""

    def __init__(self) -> None:
        self._net = f"10.78.{os.getpid() % 250 + 1}"
        self.names = [f"wire{os.getpid()}-{side}" for side in (0, 1)]

    def __enter__(self) -> Wire:
        ends = [f"wi{os.getpid()}{side}" for side in "ab"]
        for name in self.names:
            _do("ip", "netns", "add", name)
        _do("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for side, (name, end) in enumerate(zip(self.names, ends, strict=True)):
            _do("ip", "link", "set", end, "netns", name)
            inside = ("ip", "-n", name)
            _do(*inside, "link", "set", end, "name", DEVICE)
            _do(*inside, "addr", "add", f"{self._net}.{side + 1}/24", "dev", DEVICE)
            _do(*inside, "link", "set", DEVICE, "up")
            _do(*inside, "link", "set", "lo", "up")
        return self

    def limit(self, bits: float) -> None:
        """Let so many bits a second through, each way."""
        # What has gathered in the bucket goes at once: little, but a millisecond's worth
        # where timers could not keep up with less.
        burst = max(16_000, int(bits / 8 * 1e-3))
        for name in self.names:
            _do(
                *("ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", DEVICE, "root"),
                *("tbf", "rate", f"{bits:.0f}bit", "burst", str(burst), "latency", "400ms"),
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def enter(name: str) -> None:
    """Put this process's network into a namespace, before it opens any connection."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open() as file:
        if libc.setns(file.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), f"namespace {name}")
