"""What this machine is and has installed, for whoever reads a result later."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path


def version(package: str) -> str:
    """Of an installed package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def processor() -> str:
    """The processor's name, as nearly as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """CPU cores that this process may use: those it is bound to, within its cgroup's quota.

    A quota of parts of a core counts as its whole cores, and at least one.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    allowed = quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, int(min(count, allowed)))


def quota(membership: Path, root: Path) -> float:
    """The processor time that cgroups allow, in cores; without a limit, infinitely many.

    Args:
        membership: the file that lists the process's groups, ``/proc/self/cgroup``.
        root: where the groups' own files are, ``/sys/fs/cgroup``.
    """
    least = float("inf")
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return least
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2 has no controllers in its line; version 1 a folder for each set of them.
        tops = [root / controllers, root / "cpu"] if controllers else [root, root / "unified"]
        for top in tops:
            group = top / path.strip("/")
            # A container may see its own group as the root, below a path of the host's.
            for folder in (group, *group.parents):
                if folder.is_relative_to(top):
                    least = min(least, _limit(folder))
    return least


def _limit(group: Path) -> float:
    try:
        if (group / "cpu.max").exists():
            allowed, period = (group / "cpu.max").read_text().split()
        else:
            allowed = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
        return float("inf") if allowed in ("max", "-1") else int(allowed) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return float("inf")


_MEMORY = (
    ("/proc/meminfo", "MemAvailable:"),
    ("/sys/fs/cgroup/memory.max", ""),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", ""),
)
"""Files that tell a number of bytes, or of kB, and the word before it."""


def available_memory() -> float:
    """Bytes of memory that can be taken without swapping; infinitely many where no one tells.

    A cgroup's limit, such as a container's, counts whole, as what is used of it is mostly cache.
    """
    try:
        least = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        least = float("inf")
    for file, word in _MEMORY:
        try:
            text = Path(file).read_text()
        except OSError:
            continue
        found = re.search(rf"^{word}\s*(\d+)( kB)?", text, re.MULTILINE)
        if found:
            least = min(least, int(found[1]) * (1024 if found[2] else 1))
    return least
