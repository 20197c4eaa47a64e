"""GPUs of this machine, and why torch may not see them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

from distgan.errors import UserError

_DEVICES = Path("/dev")
"""Where Linux shows an NVIDIA GPU as ``nvidia0`` and so on, once its driver is loaded."""


def unseen() -> str:
    """One sentence where this machine has GPUs and none that is used; else empty."""
    if torch.cuda.device_count() or _hidden():
        return ""
    count = _present()
    if not count:
        return _of_other_kinds()
    gpus = "the NVIDIA GPU" if count == 1 else f"any of the {count} NVIDIA GPUs"
    return (
        f"torch {torch.__version__} cannot use {gpus} here ({why(torch.version.cuda)}); install a "
        "torch for this driver's CUDA (pytorch.org says how)"
    )


def _of_other_kinds() -> str:
    """What is said of GPUs for which distgan is not written, though torch may use them."""
    if torch.backends.mps.is_available():
        return "distgan does not use this Mac's GPU (MPS)"
    if torch.xpu.is_available():
        return "distgan does not use the Intel GPU here (XPU)"
    return ""


def check_slices(workers: int | tuple[int, int] | None, device: str) -> None:
    """See that several workers do not ask for slices of a GPU.

    Raises:
        UserError: when they do.
    """
    least = workers[0] if isinstance(workers, tuple) else workers or 0
    if device != "cpu" and least > 1 and _visible().startswith("MIG-"):
        raise UserError(
            f"--workers {least}: CUDA_VISIBLE_DEVICES names slices of a GPU (MIG), of which a "
            "process sees one and between which NCCL sends nothing; use --workers 1, or whole GPUs"
        )


def why(cuda: str | None) -> str:
    """Why a torch sees no GPU, by the release of CUDA that it was built for."""
    if cuda is None:
        return "it is a build for CPUs"
    return f"it is built for CUDA {cuda}, for which the driver may be too old"


def _present() -> int:
    try:
        return sum(bool(re.fullmatch(r"nvidia\d+", path.name)) for path in _DEVICES.iterdir())
    except OSError:
        return 0


def _hidden() -> bool:
    """Whether somebody has said that none is to be used."""
    return os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1", "NoDevFiles")


def _visible() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")
