"""On what, with what and when a benchmark ran."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from distgan.storage.machine import processor, version

_PACKAGES = ("distgan", "torch", "ray", "pyarrow", "numpy")


def describe() -> dict[str, Any]:
    """Processor, memory, GPUs, system, versions, and the commit of this checkout."""
    import torch  # Takes seconds, which a list of the benchmarks should not.

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "gpus": [torch.cuda.get_device_name(number) for number in range(gpus)],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def in_one_line(machine: dict[str, Any]) -> str:
    """As a table's footnote says it."""
    parts = [f"{machine['cores']} cores of {machine['processor']} ({machine['capability']})"]
    parts += machine["gpus"]
    parts += [f"torch {machine['versions']['torch']}", f"Python {machine['python']}"]
    if machine["commit"]:
        parts.append(f"commit {machine['commit']}")
    return ", ".join(parts)


def _commit() -> str:
    # Empty where there is no git; with "changed" where files differ from the commit.
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True)
        state = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True)
    except OSError:
        return ""
    if head.returncode:
        return ""
    changed = " (changed)" if state.stdout.strip() else ""
    return head.stdout.decode().strip() + changed
