"""The adversarial step: one discriminator update, then one generator update.

Pure PyTorch. The step does not know how many processes take part: a network that is
data-parallel arrives wrapped, and an uneven share of the global batch arrives as a weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distgan.augment import Augmenter, AugmentNumbers, NoneSettings
from distgan.losses import Loss


@dataclass(frozen=True)
class Player:
    """One of the two networks, with what trains it.

    ``network`` is the bare module. ``parallel`` is the same module wrapped for gradient
    exchange, or ``network`` itself in a single process; only forwards whose backward
    reaches this network's weights go through it.
    """

    network: nn.Module
    parallel: nn.Module
    optimizer: torch.optim.Optimizer

    def update(self, loss: Tensor) -> None:
        """Backward and one optimizer step."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


_NO_NUMBERS = AugmentNumbers()


@dataclass(frozen=True)
class Batch:
    """This process's part of a global batch, on its device.

    ``real`` is float (n, c, h, w) in [-1, 1], ``labels`` int64 (n,) or None, and the
    latents float (n, latent), one set for each player's update. Fakes take the labels
    of the reals. ``augment`` decides what the images go through on their way to the
    discriminator. ``weight`` is n times the number of processes over the global batch:
    1 for equal shares, and what makes the average of gradients exact for unequal ones.
    """

    real: Tensor
    labels: Tensor | None
    discriminator_latent: Tensor
    generator_latent: Tensor
    weight: float = 1.0
    augment: AugmentNumbers = _NO_NUMBERS


STATISTICS = ("d_loss", "g_loss", "d_real", "d_fake")
"""What a step returns, in order: both losses, mean D(x) and mean D(G(z)), before the updates."""

_NO_AUGMENTATION = Augmenter(NoneSettings(), torch.device("cpu"))


def adversarial_step(
    generator: Player,
    discriminator: Player,
    loss: Loss,
    batch: Batch,
    share_fakes: bool,
    augment: Augmenter = _NO_AUGMENTATION,
) -> Tensor:
    """Update the discriminator, then the generator against the updated discriminator.

    Args:
        share_fakes: run the generator once and use its images for both updates, as
            Radford et al.'s code does, instead of drawing fresh ones for its own.
        augment: what every image goes through before the discriminator sees it.

    Returns:
        float (4,), detached, on the device: `STATISTICS` times the batch's weight.
    """
    if share_fakes:
        fake = generator.parallel(batch.generator_latent, batch.labels)
        found = _discriminator_update(discriminator, loss, batch, fake.detach(), augment)
    else:
        with torch.no_grad():
            imitation = generator.network(batch.discriminator_latent, batch.labels)
        found = _discriminator_update(discriminator, loss, batch, imitation, augment)
        fake = generator.parallel(batch.generator_latent, batch.labels)
    seen = augment(fake, batch.augment.generator)
    g_loss = _generator_update(generator, discriminator.network, loss, batch, seen)
    d_loss, d_real, d_fake = found
    return torch.stack([d_loss, g_loss, d_real, d_fake]) * batch.weight


def _discriminator_update(
    discriminator: Player, loss: Loss, batch: Batch, fake: Tensor, augment: Augmenter
) -> tuple[Tensor, Tensor, Tensor]:
    real, fake = augment(batch.real, batch.augment.real), augment(fake, batch.augment.fake)
    real_logits = discriminator.parallel(real, batch.labels)
    fake_logits = discriminator.parallel(fake, batch.labels)
    augment.observe(real_logits)
    value = loss.discriminator(real_logits, fake_logits)
    discriminator.update(value * batch.weight)
    with torch.no_grad():
        return value.detach(), real_logits.sigmoid().mean(), fake_logits.sigmoid().mean()


def _generator_update(
    generator: Player, frozen: nn.Module, loss: Loss, batch: Batch, fake: Tensor
) -> Tensor:
    # Frozen, the discriminator passes gradients on to the images and keeps none.
    frozen.requires_grad_(False)
    value = loss.generator(frozen(fake, batch.labels))
    generator.update(value * batch.weight)
    frozen.requires_grad_(True)
    return value.detach()
