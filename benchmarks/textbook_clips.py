"""The loops that a reader of MoCoGAN's and StyleGAN-V's papers writes, in plain PyTorch.

Each discriminator is updated on real and then on fake clips, each in a forward of its own, and then
the generator, on clips of its own. The losses are read every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

Make = Callable[[], tuple[Tensor, tuple[Tensor, ...]]]
"""Makes fakes, and what a discriminator is given besides them."""


@dataclass(frozen=True)
class Rule:
    """Settings of all networks' updates.

    ``r1`` is the weight of half the squared gradient at reals, which is paid in every ``every``-th
    step; 0 for none.
    """

    rate: float
    betas: tuple[float, float]
    weight_decay: float = 0.0
    r1: float = 0.0
    every: int = 1

    def adam(self, network: nn.Module) -> torch.optim.Adam:
        """The optimizer of a network."""
        return torch.optim.Adam(
            network.parameters(), lr=self.rate, betas=self.betas, weight_decay=self.weight_decay
        )


class ClipsTextbook:
    """Adversarial training of a generator against one or more discriminators.

    Args:
        generator: its weights are updated against the sum of the discriminators' games.
        judges: the discriminators, each with what makes fakes for it.
    """

    def __init__(
        self, generator: nn.Module, judges: list[tuple[nn.Module, Make]], rule: Rule
    ) -> None:
        self._judges, self._rule, self._steps = judges, rule, 0
        self._of_generator = rule.adam(generator)
        self._of_judges = [rule.adam(judge) for judge, _ in judges]

    def step(self, reals: list[tuple[Tensor, tuple[Tensor, ...]]]) -> list[float]:
        """Update every discriminator on its reals and on fakes, then the generator.

        Args:
            reals: for each discriminator, and what it is given besides them.

        Returns:
            the discriminators' losses, and the generator's.
        """
        losses = []
        for number, (judge, make) in enumerate(self._judges):
            judge.requires_grad_(True)
            losses.append(self._update(number, judge, make, *reals[number]))
            judge.requires_grad_(False)
        self._of_generator.zero_grad()
        parts = []
        for judge, make in self._judges:
            made, given = make()
            parts.append(softplus(-judge(made, *given)).mean())
        loss = torch.stack(parts).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        self._of_generator.step()
        self._steps += 1
        return [*losses, loss.item()]

    def _update(
        self, number: int, judge: nn.Module, make: Make, real: Tensor, given: tuple[Tensor, ...]
    ) -> float:
        with torch.no_grad():
            made, of_made = make()
        self._of_judges[number].zero_grad()
        pays = self._rule.r1 > 0 and self._steps % self._rule.every == 0
        real = real.detach().requires_grad_(pays)
        logits = judge(real, *given)
        loss = softplus(-logits).mean() + softplus(judge(made, *of_made)).mean()
        if pays:
            (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
            loss = loss + self._rule.r1 / 2 * slope.square().flatten(1).sum(1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        self._of_judges[number].step()
        return float(loss.item())
