"""What a rank computes on, for the record of a run."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

import torch

_DRIVER = Path("/proc/driver/nvidia/version")
"""Where Linux shows which NVIDIA driver is loaded."""


def describe(device: torch.device) -> dict[str, str]:
    """Machine and device of this process; of a GPU also CUDA or HIP, cuDNN, NCCL and driver."""
    if device.type != "cuda":
        return {"machine": platform.node(), "device": device.type}
    found = {
        "machine": platform.node(),
        "device": torch.cuda.get_device_name(device),
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "nccl": _nccl(),
        "driver": driver(),
    }
    return {name: str(value) for name, value in found.items() if value}


def _nccl() -> str:
    if not torch.distributed.is_nccl_available():
        return ""
    release: Any = torch.cuda.nccl
    return ".".join(map(str, release.version()))


def driver() -> str:
    """The release of the NVIDIA driver that is loaded; empty where there is none."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)\s", _DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else ""
