"""A network with what trains it, wherever its gradients come from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from distgan.networks.spectral import SpectralNorm, spectral_norms


@dataclass(frozen=True)
class TrainableNetwork:
    """A network of a family, such as a generator.

    ``network`` is the bare module. ``parallel`` is the same module wrapped for gradient
    exchange, or ``network`` itself in a single process; only forwards whose backward
    reaches this network's weights go through it. ``clip_norm`` limits the norm of the
    whole gradient, 0 for no limit. ``joint`` says that a sample's result does not depend
    on the others in its batch, so that batches may be concatenated.
    """

    network: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer
    clip_norm: float = 0.0
    joint: bool = False
    parameters: tuple[nn.Parameter, ...] = field(init=False)
    """Of the network: to look them up in its modules costs a small one a percent of a step."""
    _spectral: tuple[SpectralNorm, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", tuple(self.network.parameters()))
        object.__setattr__(self, "_spectral", spectral_norms(self.network))

    def begin_update(self) -> None:
        """Forget the last gradients, and follow the weights' spectral norms once.

        Once an update, not once a forward: the result must not depend on how a batch is
        divided into forwards.
        """
        # What `zero_grad` does, which also opens a range for the profiler, for longer than that.
        for parameter in self.parameters:
            parameter.grad = None
        for norm in self._spectral:
            norm.advance()

    @contextmanager
    def frozen(self) -> Iterator[nn.Module]:
        """The network while it passes gradients on to its input and keeps none."""
        for parameter in self.parameters:
            parameter.requires_grad = False
        try:
            yield self.network
        finally:
            for parameter in self.parameters:
                parameter.requires_grad = True

    def exchanging(self, last: bool) -> AbstractContextManager[object]:
        """Around forward and backward of a micro-batch: only the ``last`` meets the others."""
        if last or self.parallel is self.network:
            return nullcontext()
        hold: AbstractContextManager[object] = self.parallel.no_sync()  # type: ignore[operator]
        return hold

    def end_update(self) -> None:
        """One optimizer step on the gradients gathered since `begin_update`."""
        if self.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm, foreach=True)
        self.optimizer.step()


def backward(loss: Tensor) -> None:
    """``loss.backward()``, typed."""
    loss.backward()  # type: ignore[no-untyped-call]
