"""Batches of nothing in particular, for counting and timing steps."""

from __future__ import annotations

import torch

from distgan.augment import AugmentNumbers
from distgan.config.run import Config
from distgan.config.shape import ImageShape
from distgan.training.step import Batch


def random_batches(
    config: Config, image: ImageShape, images: int, device: torch.device
) -> list[Batch]:
    """The micro-batches of a step, of ``images`` images each."""
    with device:
        return [_random_batch(config, image, images) for _ in range(config.accumulate)]


def _random_batch(config: Config, image: ImageShape, images: int) -> Batch:
    numbers = config.discriminator.augment.numbers
    penalties = config.discriminator.penalty.numbers(image)
    uses = {use: torch.rand(images, numbers) for use in ("real", "fake", "generator")}
    real = torch.rand(images, *image, dtype=config.dtype).mul_(2).sub_(1)
    return Batch(
        real=real.contiguous(memory_format=torch.channels_last),
        labels=torch.zeros(images, dtype=torch.long) if config.conditional else None,
        discriminator_latent=torch.randn(images, config.latent, dtype=config.dtype),
        generator_latent=torch.randn(images, config.latent, dtype=config.dtype),
        augment=AugmentNumbers(**uses) if numbers else AugmentNumbers(),
        penalty={name: torch.rand(images, size) for name, size in penalties.items()},
    )
