"""How torch computes on a GPU while a run trains: speed or the same bits every time, and TF32."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from distgan.errors import UserError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""What cuBLAS reads before its first product; with `_FIXED` it adds up in one order."""
_FIXED = ":4096:8"


@contextlib.contextmanager
def arithmetic(deterministic: bool, device: torch.device) -> Iterator[None]:
    """The process's settings of torch for a run, put back at the end.

    Args:
        deterministic: only operations whose bits are the same every time, or an error; without,
            cuDNN tries which algorithms are fastest (``benchmark``), where the device is a GPU.

    Raises:
        UserError: inside, for an operation that is not deterministic on the device.
    """
    cudnn, before = torch.backends.cudnn, _found()
    workspace, fills = os.environ.get(_WORKSPACE), _fills()
    cudnn.benchmark = device.type == "cuda" and not deterministic
    if deterministic:
        cudnn.deterministic = True
        torch.use_deterministic_algorithms(True)
        # No kernel here reads memory that none has written; to fill it would cost a kernel each.
        _fill(False)
        os.environ.setdefault(_WORKSPACE, _FIXED)
    try:
        yield
    except RuntimeError as error:
        if deterministic and "determinis" in str(error).lower():
            raise UserError(_refusal(str(error))) from error
        raise
    finally:
        cudnn.benchmark, cudnn.deterministic = before["benchmark"], before["cudnn"]
        torch.use_deterministic_algorithms(before["algorithms"], warn_only=before["warn_only"])
        _fill(fills)
        if deterministic and workspace is None:
            os.environ.pop(_WORKSPACE, None)


def _found() -> dict[str, bool]:
    return {
        "benchmark": torch.backends.cudnn.benchmark,
        "cudnn": torch.backends.cudnn.deterministic,
        "algorithms": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
    }


def _fills() -> bool:
    return bool(torch.utils.deterministic.fill_uninitialized_memory)  # type: ignore[attr-defined]


def _fill(wanted: bool) -> None:
    torch.utils.deterministic.fill_uninitialized_memory = wanted  # type: ignore[attr-defined]


def _refusal(said: str) -> str:
    if "cublas" in said.lower():
        return (
            "--deterministic true: this process has multiplied matrices on the GPU before, "
            f"without {_WORKSPACE}={_FIXED}; set that variable before it starts, or use --workers 1"
        )
    operation = said.split(" ")[0]
    return (
        f"--deterministic true: {operation} adds up in an order that varies on this device; leave "
        "the setting out, or what uses that operation"
    )


def described(device: torch.device) -> dict[str, bool]:
    """For the records of a run: what decides bits and speed on its device, as it is now."""
    said = {"deterministic": torch.are_deterministic_algorithms_enabled()}
    if device.type == "cuda":
        said |= {
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "tf32_convolutions": torch.backends.cudnn.allow_tf32,
            "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        }
    return said
