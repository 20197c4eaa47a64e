"""Hardware, cores, memory and versions of this machine, as recorded with results."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path


def version(package: str) -> str:
    """Version of an installed package, or ``not installed``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def ffmpeg() -> str | None:
    """Where the program ffmpeg is, which reads and writes MP4 and other videos; None without."""
    return shutil.which("ffmpeg")


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """CPU cores that this process may use: its affinity, limited by its cgroup's quota.

    A fractional quota is rounded down, to at least 1.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    allowed = quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return max(1, int(min(count, allowed)))


def quota(membership: Path, root: Path) -> float:
    """The CPU quota of the process's cgroups, in cores; infinite without a limit.

    Args:
        membership: the file that lists the process's groups, ``/proc/self/cgroup``.
        root: the folder of the groups' own files, ``/sys/fs/cgroup``.
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
        # cgroup v2 lists no controllers; v1 has a folder for each set of controllers.
        tops = [root / controllers, root / "cpu"] if controllers else [root, root / "unified"]
        for top in tops:
            group = top / path.strip("/")
            # In a container the listed path may be the host's, while its own group is the root.
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
"""Files that hold a number of bytes or kB, and the word before it."""


def available_memory() -> float:
    """Bytes of memory available without swapping; infinite where the system does not tell.

    A cgroup's limit, such as a container's, is not reduced by its usage, which is mostly cache.
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
