"""Recipes of noise-to-image GANs; those of R3GAN are in `distgan.recipes.r3gan`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.families.gan_config import DiscriminatorConfig, GANConfig, GeneratorConfig
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.networks.mlp import MLPDiscriminatorSettings, MLPGeneratorSettings
from distgan.networks.sngan import SNGANDiscriminatorSettings, SNGANGeneratorSettings
from distgan.objectives.penalties import PenaltySettings

_RARELY = OutputConfig(
    log_every=20_000, sample_every=500_000, checkpoint_every=1_000_000, keep_checkpoints=2
)
_OFTEN = OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=40_000)


def mnist_mlp_tutorial() -> GANConfig:
    """The tutorial's fully connected pair on MNIST, with the tutorial's settings."""
    return GANConfig(
        recipe="mnist-mlp-tutorial",
        generator=GeneratorConfig(network=MLPGeneratorSettings()),
        discriminator=DiscriminatorConfig(network=MLPDiscriminatorSettings()),
    )


def mnist_mlp() -> GANConfig:
    """The tutorial's networks on MNIST, with settings that a search found: good in a minute."""

    def adam(lr: float) -> AdamSettings:
        return AdamSettings(lr=Schedule(lr), beta1=Schedule(0), beta2=Schedule(0.99))

    config = mnist_mlp_tutorial()
    return replace(
        config,
        recipe="mnist-mlp",
        images=250_000,
        batch=64,
        generator=replace(config.generator, optimizer=adam(5.2e-4)),
        discriminator=replace(
            config.discriminator,
            optimizer=adam(1.3e-3),
            penalty=PenaltySettings(r1=Schedule(1), every=512),
        ),
        output=OutputConfig(sample_every=25_000, checkpoint_every=100_000),
    )


def mnist_mlp_conditional() -> GANConfig:
    """mnist-mlp with labels: G sees [z; e], e a learned embedding; D sees the label too."""
    return replace(mnist_mlp(), recipe="mnist-mlp-conditional", conditional=True)


def mnist_dcgan() -> GANConfig:
    """A convolutional pair with batch normalisation on MNIST."""
    return GANConfig(
        recipe="mnist-dcgan",
        images=300_000,
        generator=GeneratorConfig(network=DCGANGeneratorSettings()),
        discriminator=DiscriminatorConfig(network=DCGANDiscriminatorSettings()),
        output=_OFTEN,
    )


def mnist_speedrun() -> GANConfig:
    """A narrow DCGAN in bf16 with many large steps: soonest good on two CPU cores."""
    config = mnist_dcgan()
    adam = AdamSettings(lr=Schedule(2e-3))
    return replace(
        config,
        recipe="mnist-speedrun",
        images=100_000,
        batch=64,
        share_fakes=True,
        precision="bf16",
        generator=GeneratorConfig(
            network=DCGANGeneratorSettings(width=32),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(5_000)),
        ),
        discriminator=DiscriminatorConfig(
            network=DCGANDiscriminatorSettings(width=32), optimizer=adam
        ),
    )


def cifar10_dcgan() -> GANConfig:
    """DCGAN on CIFAR-10, with the settings of Radford et al. (ICLR 2016)."""
    adam = AdamSettings(lr=Schedule(2e-4), beta1=Schedule(0.5), beta2=Schedule(0.999))
    return GANConfig(
        recipe="cifar10-dcgan",
        data="cifar10",
        images=10_000_000,
        generator=GeneratorConfig(network=DCGANGeneratorSettings(), optimizer=adam),
        discriminator=DiscriminatorConfig(network=DCGANDiscriminatorSettings(), optimizer=adam),
        output=_RARELY,
    )


def cifar10_dcgan_tiny() -> GANConfig:
    """The same at a quarter of the width: minutes on two CPU cores."""
    config = cifar10_dcgan()
    return replace(
        config,
        recipe="cifar10-dcgan-tiny",
        images=200_000,
        generator=replace(config.generator, network=DCGANGeneratorSettings(width=16)),
        discriminator=replace(config.discriminator, network=DCGANDiscriminatorSettings(width=16)),
        output=_OFTEN,
    )


def cifar10_sngan() -> GANConfig:
    """SNGAN's ResNet on CIFAR-10 as in torch-mimicry (published FID 16.77).

    100,000 updates of the generator, each after five of the discriminator on 64 images of
    their own: 32 million images (Lee and Town, "Mimicry: Towards the Reproducibility of GAN
    Research", 2020).
    """
    adam = AdamSettings(
        lr=Schedule(2e-4, 0, 32_000_000, "linear"), beta1=Schedule(0), beta2=Schedule(0.9)
    )
    return GANConfig(
        recipe="cifar10-sngan",
        data="cifar10",
        images=32_000_000,
        batch=64,
        latent=128,
        loss="hinge",
        generator=GeneratorConfig(
            network=SNGANGeneratorSettings(),
            optimizer=adam,
            # Mimicry samples from the last weights.
            ema=EMASettings(half_life=Schedule(0)),
        ),
        discriminator=DiscriminatorConfig(
            network=SNGANDiscriminatorSettings(), optimizer=adam, updates=5
        ),
        output=_RARELY,
    )


def cifar10_sngan_tiny() -> GANConfig:
    """The same at an eighth of the width, two updates of D a turn: minutes on two CPU cores."""
    config = cifar10_sngan()
    adam = replace(config.generator.optimizer, lr=Schedule(4e-4))
    return replace(
        config,
        recipe="cifar10-sngan-tiny",
        images=150_000,
        latent=64,
        generator=replace(
            config.generator,
            network=SNGANGeneratorSettings(width=32),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(5_000)),
        ),
        discriminator=replace(
            config.discriminator,
            network=SNGANDiscriminatorSettings(width=16),
            optimizer=adam,
            updates=2,
        ),
        output=_OFTEN,
    )


RECIPES: dict[str, Callable[[], GANConfig]] = {
    "mnist-mlp": mnist_mlp,
    "mnist-mlp-tutorial": mnist_mlp_tutorial,
    "mnist-mlp-conditional": mnist_mlp_conditional,
    "mnist-dcgan": mnist_dcgan,
    "mnist-speedrun": mnist_speedrun,
    "cifar10-dcgan": cifar10_dcgan,
    "cifar10-dcgan-tiny": cifar10_dcgan_tiny,
    "cifar10-sngan": cifar10_sngan,
    "cifar10-sngan-tiny": cifar10_sngan_tiny,
}
"""By name."""
