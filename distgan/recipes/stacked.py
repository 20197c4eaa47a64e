"""Recipes for Stacked MNIST, the test of mode collapse with 1,000 modes.

The set is `distgan.data.sources.stacked`. `distgan train` makes it on the way; Python code makes it
by ``distgan.prepare("stacked-mnist", FOLDER)``. Runs are evaluated by the modes that 26,000
generated images show, as in PacGAN's code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.evaluate import EvaluateSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.data.sources.stacked import NAME
from distgan.families.gan_config import DiscriminatorConfig, GANConfig, GeneratorConfig
from distgan.networks.dcgan import DCGANDiscriminatorSettings, DCGANGeneratorSettings
from distgan.networks.r3gan import R3GANDiscriminatorSettings, R3GANGeneratorSettings
from distgan.objectives.penalties import PenaltySettings

_EVALUATED = EvaluateSettings(metrics=("modes", "frechet"), num=26_000)
_RARELY = OutputConfig(log_every=20_000, sample_every=250_000, checkpoint_every=500_000)


def stacked_mnist_dcgan() -> GANConfig:
    """DCGAN on Stacked MNIST, with PacGAN's settings (NeurIPS 2018): a test of mode collapse.

    50 epochs of 128,000 images, batch 64, Adam of 2e-4 and 0.5, width 64, sampled from the last
    weights, as in the authors' code of VEEGAN's experiment. Theirs differs in this: images are
    28x28, so that both networks have a fourth layer of stride 2; kernels are 5x5, not 4x4; latents
    are uniform in [-1, 1], not normal; the generator is updated twice for each update of the
    discriminator; and digits come from MNIST's test images, too.
    """
    adam = AdamSettings(lr=Schedule(2e-4), beta1=Schedule(0.5), beta2=Schedule(0.999))
    return GANConfig(
        recipe="stacked-mnist-dcgan",
        data=NAME,
        images=6_400_000,
        batch=64,
        latent=100,
        generator=GeneratorConfig(
            network=DCGANGeneratorSettings(),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(0)),
        ),
        discriminator=DiscriminatorConfig(network=DCGANDiscriminatorSettings(), optimizer=adam),
        evaluate=_EVALUATED,
        output=_RARELY,
    )


def stacked_mnist_r3gan() -> GANConfig:
    """R3GAN on Stacked MNIST (Huang et al., NeurIPS 2024; published: 1,000 modes, KL 0.029)."""
    burn_in = 2_000_000
    adam = AdamSettings(lr=Schedule(2e-4), beta1=Schedule(0), beta2=Schedule(0.9, 0.99, burn_in))
    gamma = Schedule(1, 0.1, burn_in)
    return GANConfig(
        recipe="stacked-mnist-r3gan",
        data=NAME,
        images=10_000_000,
        batch=512,
        latent=64,
        loss="relativistic",
        generator=GeneratorConfig(
            network=R3GANGeneratorSettings(),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(0, 500_000, burn_in), ramp_up=0),
            fresh_reals=True,
        ),
        discriminator=DiscriminatorConfig(
            network=R3GANDiscriminatorSettings(),
            optimizer=adam,
            penalty=PenaltySettings(r1=gamma, r2=gamma),
        ),
        evaluate=_EVALUATED,
        output=_RARELY,
    )


def stacked_mnist_r3gan_tiny() -> GANConfig:
    """The same with narrow stages of one block: for two CPU cores.

    For the ablation of the paper's table of losses, in which the relativistic loss with R1 and R2
    finds 1,000 modes (KL 0.078), the non-saturating one with both finds 693 (0.927), and either
    diverges with R1 alone::

        distgan train stacked-mnist-r3gan-tiny
        distgan train stacked-mnist-r3gan-tiny --discriminator.penalty.r2 0
        distgan train stacked-mnist-r3gan-tiny --loss non-saturating
        distgan train stacked-mnist-r3gan-tiny --loss non-saturating --discriminator.penalty.r2 0
    """
    config = stacked_mnist_r3gan()
    burn_in, widths = 100_000, (64, 48, 32, 16)
    adam = AdamSettings(lr=Schedule(1e-3), beta1=Schedule(0), beta2=Schedule(0.9, 0.99, burn_in))
    gamma = Schedule(1, 0.1, burn_in)
    return replace(
        config,
        recipe="stacked-mnist-r3gan-tiny",
        images=500_000,
        batch=64,
        generator=GeneratorConfig(
            network=R3GANGeneratorSettings(widths=widths, blocks=(1,)),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(5_000), ramp_up=0.05),
            fresh_reals=True,
        ),
        discriminator=DiscriminatorConfig(
            network=R3GANDiscriminatorSettings(widths=widths[::-1], blocks=(1,)),
            optimizer=adam,
            penalty=PenaltySettings(r1=gamma, r2=gamma),
        ),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=50_000),
    )


RECIPES: dict[str, Callable[[], GANConfig]] = {
    "stacked-mnist-dcgan": stacked_mnist_dcgan,
    "stacked-mnist-r3gan": stacked_mnist_r3gan,
    "stacked-mnist-r3gan-tiny": stacked_mnist_r3gan_tiny,
}
"""By name."""
