"""Networks of shapes alone, to hear whether they fit before there is anything to fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = (torch.Tensor.normal_, torch.nn.init.normal_)


@contextmanager
def unfilled() -> Iterator[None]:
    """Tensors made within have no memory, and no values are drawn for them."""
    with torch.device("meta"), _Undrawn():
        yield


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
