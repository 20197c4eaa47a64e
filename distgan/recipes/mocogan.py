"""Recipes of clips by MoCoGAN."""

from __future__ import annotations

from collections.abc import Callable

from distgan.config.clip import ClipSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.families.mocogan_config import (
    ClipDiscriminatorConfig,
    FrameDiscriminatorConfig,
    MoCoGANConfig,
    MoCoGANGeneratorConfig,
)
from distgan.networks.mocogan import (
    ClipDiscriminatorSettings,
    FrameDiscriminatorSettings,
    MoCoGANGeneratorSettings,
)


def _adam(lr: float, weight_decay: float = 0.0) -> AdamSettings:
    beta1, beta2 = Schedule(0.5), Schedule(0.999)
    return AdamSettings(lr=Schedule(lr), beta1=beta1, beta2=beta2, weight_decay=weight_decay)


def moving_mnist_mocogan() -> MoCoGANConfig:
    """A digit that moves, by narrow networks that learn it in minutes on two CPU cores."""
    # Slower discriminators, and half as wide: they soon know everything that a generator of so few
    # weights makes.
    adam = _adam(1e-3)
    return MoCoGANConfig(
        recipe="moving-mnist-mocogan",
        data="moving-mnist-small",
        images=60_000,
        batch=16,
        clip=ClipSettings(frames=10),
        generator=MoCoGANGeneratorConfig(
            network=MoCoGANGeneratorSettings(width=32),
            optimizer=_adam(2e-3),
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator_image=FrameDiscriminatorConfig(
            network=FrameDiscriminatorSettings(width=16), optimizer=adam
        ),
        discriminator_video=ClipDiscriminatorConfig(
            network=ClipDiscriminatorSettings(width=16), optimizer=adam
        ),
        output=OutputConfig(log_every=2_000, sample_every=10_000, checkpoint_every=20_000),
    )


def mocogan_64() -> MoCoGANConfig:
    """MoCoGAN as published (Tulyakov et al. 2018), for clips of 64 pixels such as UCF-101's.

    It learns from 100,000 batches of 32 clips, of which every second frame is seen.
    """
    adam = _adam(2e-4, weight_decay=1e-5)
    return MoCoGANConfig(
        recipe="mocogan-64",
        data="clips64",
        images=3_200_000,
        batch=32,
        clip=ClipSettings(frames=16, stride=2),
        generator=MoCoGANGeneratorConfig(optimizer=adam),
        discriminator_image=FrameDiscriminatorConfig(optimizer=adam),
        discriminator_video=ClipDiscriminatorConfig(optimizer=adam),
        output=OutputConfig(log_every=10_000, sample_every=100_000, checkpoint_every=100_000),
    )


RECIPES: dict[str, Callable[[], MoCoGANConfig]] = {
    "moving-mnist-mocogan": moving_mnist_mocogan,
    "mocogan-64": mocogan_64,
}
"""By name."""
