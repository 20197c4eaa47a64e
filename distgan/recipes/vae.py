"""Recipes of variational autoencoders, and of those that a discriminator trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.optimizer import AdamSettings
from distgan.config.run import OutputConfig, RunConfig
from distgan.config.schedule import Schedule
from distgan.families.gan_config import DiscriminatorConfig, GeneratorConfig
from distgan.families.vae_config import VAEConfig
from distgan.families.vae_gan_config import EncoderConfig, VAEGANConfig
from distgan.networks.mlp import MLPDiscriminatorSettings, MLPGeneratorSettings
from distgan.networks.vae import (
    DCGANDecoderSettings,
    DCGANEncoderSettings,
    MLPDecoderSettings,
    MLPEncoderSettings,
)
from distgan.objectives.likelihoods import GaussianSettings
from distgan.objectives.penalties import PenaltySettings


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


def mnist_vae_gan() -> VAEGANConfig:
    """A VAE-GAN on MNIST: the networks and penalty of mnist-mlp, the encoder of mnist-vae."""

    def adam(lr: float, beta1: float = 0) -> AdamSettings:
        return AdamSettings(lr=Schedule(lr), beta1=Schedule(beta1), beta2=Schedule(0.99))

    return VAEGANConfig(
        recipe="mnist-vae-gan",
        images=250_000,
        batch=64,
        gamma=Schedule(1e-3),
        generator=GeneratorConfig(network=MLPGeneratorSettings(), optimizer=adam(5.2e-4)),
        discriminator=DiscriminatorConfig(
            network=MLPDiscriminatorSettings(),
            optimizer=adam(1.3e-3),
            penalty=PenaltySettings(r1=Schedule(1), every=512),
        ),
        encoder=EncoderConfig(network=MLPEncoderSettings(), optimizer=adam(1e-3, 0.9)),
        output=OutputConfig(sample_every=25_000, checkpoint_every=100_000),
    )


def cifar10_vae() -> VAEConfig:
    """A convolutional VAE on CIFAR-10, of the layers of cifar10-dcgan."""
    return replace(
        mnist_vae_conv(),
        recipe="cifar10-vae",
        data="cifar10",
        latent=128,
        images=2_000_000,
        likelihood=GaussianSettings(),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "mnist-vae": mnist_vae,
    "mnist-vae-conv": mnist_vae_conv,
    "cifar10-vae": cifar10_vae,
    "mnist-vae-gan": mnist_vae_gan,
}
"""By name."""
