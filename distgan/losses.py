"""Adversarial losses: pure functions of the discriminator's logits, to be minimised.

Write l for a logit and D = sigmoid(l). Then -log D = softplus(-l) and
-log(1 - D) = softplus(l), which neither overflow nor lose digits where a sigmoid
saturates. All arguments are float (n,), all results scalars: means over the n samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import softplus


def log_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-E[log D(x)] - E[log(1 - D(G(z)))]: Goodfellow et al. 2014, equation 1, as D sees it."""
    return softplus(-real).mean() + softplus(fake).mean()


def minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))]: what G minimises in equation 1 of Goodfellow et al. 2014.

    Its gradient is -D(G(z)) per logit, which vanishes where D rejects the sample.
    """
    return -softplus(fake).mean()


def non_saturating_generator(fake: Tensor) -> Tensor:
    """-E[log D(G(z))]: same fixed point, strong gradient early (Goodfellow et al. 2014, section 3).

    Its gradient is D(G(z)) - 1 per logit, largest where D rejects the sample.
    """
    return softplus(-fake).mean()


class Loss(NamedTuple):
    """A pair of losses, one for each player."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


LOSSES: dict[str, Loss] = {
    "non-saturating": Loss(log_discriminator, non_saturating_generator),
    "minimax": Loss(log_discriminator, minimax_generator),
}
"""Every loss by the name a configuration gives it."""
