"""Networks without memory for their weights, to check early whether they fit the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from distgan.errors import UserError

MOST_WEIGHTS = 2_000_000_000
"""Upper bound for one network. Published GANs have up to a billion."""

_DRAWS = (torch.Tensor.normal_, torch.nn.init.normal_)


@contextmanager
def unfilled() -> Iterator[None]:
    """A context in which new tensors have no memory, and no random values are drawn."""
    with torch.device("meta"), _Undrawn():
        yield


def check_size(network: torch.nn.Module, player: str) -> None:
    """Check that a network's size is plausible, before memory is allocated for it.

    Raises:
        UserError: for one of more than `MOST_WEIGHTS`, naming the ``player``.
    """
    weights = sum(weight.numel() for weight in network.parameters())
    if weights > MOST_WEIGHTS:
        raise UserError(
            f"--{player}.network: would have {weights:,} weights, and {MOST_WEIGHTS:,} are the "
            "most; make it narrower"
        )


class _Undrawn(TorchFunctionMode):
    # Random initialisation on the meta device makes torch import its compiler, which takes a
    # second, so it is skipped.
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        options = options or {}
        if function in _DRAWS:
            return arguments[0] if arguments else options["tensor"]
        return function(*arguments, **options)
