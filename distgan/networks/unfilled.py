"""Networks of shapes alone, to hear whether they fit before there is anything to fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from distgan.errors import UserError

MOST_WEIGHTS = 2_000_000_000
"""Of one network. Published GANs have up to a billion."""

_DRAWS = (torch.Tensor.normal_, torch.nn.init.normal_)


@contextmanager
def unfilled() -> Iterator[None]:
    """Tensors made within have no memory, and no values are drawn for them."""
    with torch.device("meta"), _Undrawn():
        yield


def check_size(network: torch.nn.Module, player: str) -> None:
    """See that a network can be meant, before memory is asked for.

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
    # On the meta device torch would import its compiler for a draw alone, which takes a second.
    # It still does for spectral norms, whose first estimate multiplies.
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
