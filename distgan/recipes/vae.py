"""Recipes of variational autoencoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.run import OutputConfig
from distgan.families.vae_config import VAEConfig
from distgan.networks.vae import (
    DCGANDecoderSettings,
    DCGANEncoderSettings,
    MLPDecoderSettings,
    MLPEncoderSettings,
)


def mnist_vae() -> VAEConfig:
    """A fully connected VAE on MNIST, of the layers of mnist-mlp."""
    return VAEConfig(
        recipe="mnist-vae",
        encoder=MLPEncoderSettings(),
        decoder=MLPDecoderSettings(),
    )


def mnist_vae_conv() -> VAEConfig:
    """A convolutional VAE on MNIST, of the layers of mnist-dcgan."""
    return replace(
        mnist_vae(),
        recipe="mnist-vae-conv",
        images=300_000,
        encoder=DCGANEncoderSettings(),
        decoder=DCGANDecoderSettings(),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=40_000),
    )


RECIPES: dict[str, Callable[[], VAEConfig]] = {
    "mnist-vae": mnist_vae,
    "mnist-vae-conv": mnist_vae_conv,
}
"""By name."""
