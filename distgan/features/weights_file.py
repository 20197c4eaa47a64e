"""An extractor's weights from a file, which a broken download or anybody may have written."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from distgan.errors import UserError, one_line


def read_weights(path: Path, of: str, remedy: str) -> dict[str, Tensor]:
    """Tensors by name; nothing in the file is run.

    Args:
        of: whose weights they should be, for errors.
        remedy: likewise.

    Raises:
        UserError: when it cannot be read, or holds anything else.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Whatever the library raises while it reads a foreign file.
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "more than tensors is in it" if unsafe else one_line(error, 120)
        raise _refusal(path, of, reason, remedy) from None
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise _refusal(path, of, "no tensors by name", remedy)
    return found


def load_weights(network: nn.Module, path: Path, of: str, remedy: str) -> None:
    """Give a network the weights of a file.

    Raises:
        UserError: as `read_weights`, and for the weights of another network.
    """
    weights = read_weights(path, of, remedy)
    try:
        network.load_state_dict(weights)
    except Exception as error:
        raise _refusal(path, of, one_line(error, 120), remedy) from None


def _refusal(path: Path, of: str, reason: str, remedy: str) -> UserError:
    return UserError(f"{path}: holds no weights of {of} ({reason}); {remedy}")
