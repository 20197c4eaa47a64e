"""One of the two networks with what trains it, wherever its gradients come from."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from distgan.networks.spectral import SpectralNorm, spectral_norms


@dataclass(frozen=True)
class Player:
    """Generator or discriminator.

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
    _spectral: tuple[SpectralNorm, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_spectral", spectral_norms(self.network))

    def begin_update(self) -> None:
        """Forget the last gradients, and follow the weights' spectral norms once.

        Once an update, not once a forward: the result must not depend on how a batch is
        divided into forwards.
        """
        self.optimizer.zero_grad(set_to_none=True)
        for norm in self._spectral:
            norm.advance()

    def exchanging(self, last: bool) -> AbstractContextManager[object]:
        """Around forward and backward of a micro-batch: only the ``last`` meets the others."""
        if last or self.parallel is self.network:
            return nullcontext()
        hold: AbstractContextManager[object] = self.parallel.no_sync()  # type: ignore[operator]
        return hold

    def end_update(self) -> None:
        """One optimizer step on the gradients gathered since `begin_update`."""
        if self.clip_norm > 0:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.clip_norm, foreach=True)
        self.optimizer.step()


def backward(loss: Tensor) -> None:
    """``loss.backward()``, typed."""
    loss.backward()  # type: ignore[no-untyped-call]
