"""Recipes of families that make images of images."""

from __future__ import annotations

from collections.abc import Callable

from distgan.config.optimizer import AdamSettings
from distgan.config.run import OutputConfig, RunConfig
from distgan.config.schedule import Schedule
from distgan.families.pix2pix_config import Pix2PixConfig
from distgan.families.translation_config import PatchDiscriminatorConfig, TranslatorConfig
from distgan.networks.patchgan import PatchGANSettings
from distgan.networks.unet import UNetSettings


def _adam(lr: Schedule) -> AdamSettings:
    """Of Isola et al. and those who followed them."""
    return AdamSettings(lr=lr, beta1=Schedule(0.5), beta2=Schedule(0.999))


def cifar10_colorize() -> Pix2PixConfig:
    """Colours for gray images of CIFAR-10, by pix2pix."""
    return Pix2PixConfig(
        recipe="cifar10-colorize",
        data="cifar10",
        task="gray",
        images=100_000,
        batch=16,
        loss="non-saturating",
        generator=TranslatorConfig(network=UNetSettings(width=32), optimizer=_adam(Schedule(2e-4))),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=32), optimizer=_adam(Schedule(2e-4))
        ),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=50_000),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "cifar10-colorize": cifar10_colorize,
}
"""By name."""
