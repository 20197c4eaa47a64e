"""Recipes of GANs with the type of their settings, and batches of GANs put together by hand."""

from __future__ import annotations

from torch import Tensor

from distgan.families import Batch
from distgan.families.gan_config import GANConfig
from distgan.recipes.gan import RECIPES


def gan_recipe(name: str) -> GANConfig:
    """The configuration of a GAN's recipe."""
    return RECIPES[name]()


def gan_batch(real: Tensor, generator: Tensor, discriminator: Tensor) -> Batch:
    """A batch without labels, of a GAN that neither augments nor mixes reals with fakes.

    Args:
        real: float (n, c, h, w) in [-1, 1].
        generator: latents of the generator's update, float (n, latent).
        discriminator: those of the discriminator's update.
    """
    return Batch({"image": real}, {"generator": generator, "discriminator": discriminator})
