"""The loops that a reader of pix2pix's and CycleGAN's papers writes, in plain PyTorch.

The order is that of both papers' code: pix2pix makes its outputs once, updates D on reals and on
detached outputs, then G through the updated D; CycleGAN updates both generators, then each
discriminator on fakes that went through a pool. The losses are read every step.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from distgan.networks.padding import ReflectionPad
from distgan.networks.random import SampleDropout


def in_torch_layers(network: nn.Module) -> nn.Module:
    """The network with torch's own padding and dropout in the place of distgan's."""
    for parent in list(network.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, SampleDropout):
                setattr(parent, name, nn.Dropout(part.p))
            elif isinstance(part, ReflectionPad):
                setattr(parent, name, nn.ReflectionPad2d(part.width))
    return network


@dataclass(frozen=True)
class Rule:
    """Settings of both networks' updates.

    ``least_squares`` or else the cross entropy; ``l1`` is pix2pix's weight of |y - G(x)|, ``cycle``
    and ``identity`` are CycleGAN's, the latter a multiple of the former; ``pool`` counts images.
    """

    rate: float
    betas: tuple[float, float] = (0.5, 0.999)
    least_squares: bool = True
    l1: float = 100.0
    cycle: float = 10.0
    identity: float = 0.5
    pool: int = 50

    def adam(self, *networks: nn.Module) -> torch.optim.Adam:
        """One optimizer of all weights of these."""
        weights = itertools.chain(*(network.parameters() for network in networks))
        return torch.optim.Adam(weights, lr=self.rate, betas=self.betas)

    def judged(self, logits: Tensor, target: float) -> Tensor:
        """The loss of logits, float (n, 1, h, w), that should say ``target``."""
        wanted = torch.full_like(logits, target)
        if self.least_squares:
            return mse_loss(logits, wanted)
        return binary_cross_entropy_with_logits(logits, wanted)


class Pix2PixTextbook:
    """Isola et al. 2017.

    Args:
        generator: float (n, c, h, w) in [-1, 1] to float (n, c', h, w).
        discriminator: input and output in one, (n, c + c', h, w), to logits (n, 1, h', w').
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, rule: Rule) -> None:
        self.generator, self.discriminator, self._rule = generator, discriminator, rule
        self._of_generator = rule.adam(generator)
        self._of_discriminator = rule.adam(discriminator)

    def step(self, given: Tensor, target: Tensor) -> tuple[float, float, float]:
        """Update D, then G; returns D's loss, and G's adversarial and L1 ones."""
        rule, judge = self._rule, self.discriminator
        made = self.generator(given)
        judge.requires_grad_(True)
        self._of_discriminator.zero_grad()
        on_fake = rule.judged(judge(torch.cat([given, made.detach()], 1)), 0.0)
        on_real = rule.judged(judge(torch.cat([given, target], 1)), 1.0)
        loss = (on_fake + on_real) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        self._of_discriminator.step()
        judge.requires_grad_(False)
        self._of_generator.zero_grad()
        fooled = rule.judged(judge(torch.cat([given, made], 1)), 1.0)
        apart = rule.l1 * l1_loss(made, target)
        (fooled + apart).backward()
        self._of_generator.step()
        return loss.item(), fooled.item(), apart.item()


class CycleGANTextbook:
    """Zhu et al. 2017.

    Args:
        generators: from A to B, and from B to A; float (n, c, h, w) in [-1, 1].
        discriminators: of A, and of B.
    """

    def __init__(
        self,
        generators: tuple[nn.Module, nn.Module],
        discriminators: tuple[nn.Module, nn.Module],
        rule: Rule,
    ) -> None:
        self.generators, self.discriminators, self._rule = generators, discriminators, rule
        self._of_generators = rule.adam(*generators)
        self._of_discriminators = rule.adam(*discriminators)
        self._pools = _Pool(rule.pool), _Pool(rule.pool)

    def step(self, a: Tensor, b: Tensor) -> tuple[float, float]:
        """Update both generators, then both discriminators; returns the losses of either."""
        (to_b, to_a), (of_a, of_b), rule = self.generators, self.discriminators, self._rule
        for judge in self.discriminators:
            judge.requires_grad_(False)
        self._of_generators.zero_grad()
        fake_b, fake_a = to_b(a), to_a(b)
        of_generators = (
            rule.judged(of_b(fake_b), 1.0)
            + rule.judged(of_a(fake_a), 1.0)
            + rule.cycle * (l1_loss(to_a(fake_b), a) + l1_loss(to_b(fake_a), b))
            + rule.cycle * rule.identity * (l1_loss(to_b(b), b) + l1_loss(to_a(a), a))
        )
        of_generators.backward()
        self._of_generators.step()
        self._of_discriminators.zero_grad()
        losses = []
        sides = ((of_a, a, fake_a, self._pools[0]), (of_b, b, fake_b, self._pools[1]))
        for judge, real, fake, pool in sides:
            judge.requires_grad_(True)
            on_real = rule.judged(judge(real), 1.0)
            on_fake = rule.judged(judge(pool.exchange(fake.detach())), 0.0)
            loss = (on_real + on_fake) / 2
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss)
        self._of_discriminators.step()
        return of_generators.item(), sum(loss.item() for loss in losses)


class _Pool:
    """Up to ``size`` earlier fakes, of which one in two is given in the place of a new one."""

    def __init__(self, size: int) -> None:
        self._size, self._images = size, list[Tensor]()

    def exchange(self, fakes: Tensor) -> Tensor:
        given = []
        for fake in fakes:
            if len(self._images) < self._size:
                self._images.append(fake.clone())
                given.append(fake)
            elif random.random() > 0.5:
                place = random.randrange(self._size)
                given.append(self._images[place])
                self._images[place] = fake.clone()
            else:
                given.append(fake)
        return torch.stack(given)
