"""Recipes of image translation: images from images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.feed import FeedSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig, RunConfig
from distgan.config.schedule import Schedule
from distgan.families.cyclegan_config import CycleGANConfig
from distgan.families.pix2pix_config import Pix2PixConfig
from distgan.families.superres_config import SuperResConfig
from distgan.families.translation_config import PatchDiscriminatorConfig, TranslatorConfig
from distgan.networks.patchgan import PatchGANSettings
from distgan.networks.resnet_generator import ResNetGeneratorSettings
from distgan.networks.srresnet import SRResNetSettings
from distgan.networks.unet import UNetSettings

OFTEN = OutputConfig(log_every=1_000, sample_every=5_000, checkpoint_every=20_000)
"""For runs of minutes on two CPU cores."""


def adam(lr: float, images: int = 0, constant: float = 0.5) -> AdamSettings:
    """Adam as published for pix2pix, CycleGAN and CUT.

    Args:
        images: of the whole training, at whose end the rate has fallen to 0 along a straight line;
            0 for a constant rate. (The reference's falls once an epoch, to 1/101 of it in the last
            of 200.)
        constant: share of the training before it falls.
    """
    begin = round(constant * images)
    rate = Schedule(lr, 0, images, "linear", begin=begin) if images else Schedule(lr)
    return AdamSettings(lr=rate, beta1=Schedule(0.5), beta2=Schedule(0.999))


def edges2digits_pix2pix() -> Pix2PixConfig:
    """Digits of MNIST from their outlines: pix2pix with a narrow residual generator."""
    lr = adam(1e-3)
    return Pix2PixConfig(
        recipe="edges2digits-pix2pix",
        task="edges",
        images=60_000,
        batch=32,
        generator=TranslatorConfig(
            network=ResNetGeneratorSettings(blocks=3, width=16, norm="batch"),
            optimizer=lr,
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=16), optimizer=lr
        ),
        output=OFTEN,
    )


def edges2digits_l1() -> Pix2PixConfig:
    """The same by L1 alone, without a discriminator: what pix2pix has to be better than."""
    return replace(edges2digits_pix2pix(), recipe="edges2digits-l1", adversarial=Schedule(0))


def edges2digits_pix2pix_32() -> Pix2PixConfig:
    """The same at 32 pixels with a U-Net, whose skips carry the outlines to the output."""
    config = edges2digits_pix2pix()
    return replace(
        config,
        recipe="edges2digits-pix2pix-32",
        data="mnist32",
        generator=replace(config.generator, network=UNetSettings(width=16, dropout=0)),
    )


def edges2digits_cyclegan() -> CycleGANConfig:
    """Digits of MNIST from outlines of other digits, and outlines from digits: CycleGAN."""
    images = 20_000
    lr = adam(5e-4, images)
    return CycleGANConfig(
        recipe="edges2digits-cyclegan",
        task="edges",
        images=images,
        batch=8,
        generator=TranslatorConfig(
            network=ResNetGeneratorSettings(blocks=3, width=16),
            optimizer=lr,
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=32, norm="instance"), optimizer=lr
        ),
        output=OFTEN,
    )


def cyclegan_256() -> CycleGANConfig:
    """CycleGAN as published (Zhu et al. 2017), 200 epochs of 1,334 images such as zebras.

    An epoch is as long as the larger set. The learning rate of all four networks stays for 100
    epochs and falls to 0 over 100 more: for n images take 200 n, and rates of
    2e-4:0:100n-200n:linear.
    """
    images = 200 * 1_334
    lr = adam(2e-4, images)
    return CycleGANConfig(
        recipe="cyclegan-256",
        data="horses256",
        data_b="zebras256",
        images=images,
        batch=1,
        feed=FeedSettings(mirror=True, load_size=286),
        generator=TranslatorConfig(network=ResNetGeneratorSettings(), optimizer=lr),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(norm="instance"), optimizer=lr
        ),
        output=OutputConfig(log_every=1_334, sample_every=13_340, checkpoint_every=26_680),
    )


def cifar10_colorize() -> Pix2PixConfig:
    """Colours for gray images of CIFAR-10, by pix2pix."""
    lr = adam(1e-3)
    return Pix2PixConfig(
        recipe="cifar10-colorize",
        data="cifar10",
        task="gray",
        images=100_000,
        batch=16,
        generator=TranslatorConfig(
            network=UNetSettings(width=32),
            optimizer=lr,
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=32), optimizer=lr
        ),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=50_000),
    )


def cifar10_superres() -> SuperResConfig:
    """CIFAR-10 from 16x16 pixels to 32x32, by a narrow SRResNet and, faintly, a discriminator."""
    lr = adam(1e-3, 60_000)
    return SuperResConfig(
        recipe="cifar10-superres",
        data="cifar10",
        scale=2,
        images=60_000,
        batch=16,
        loss="non-saturating",
        generator=TranslatorConfig(
            network=SRResNetSettings(blocks=4, width=32),
            optimizer=lr,
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=16, norm="none"), optimizer=adam(2e-4)
        ),
        output=OFTEN,
    )


def pix2pix_256() -> Pix2PixConfig:
    """pix2pix as published (Isola et al. 2017), 200 epochs of 400 pairs such as facades.

    The learning rate of both stays for 100 epochs and falls to 0 over 100 more: for n pairs take
    200 n images, and rates of 2e-4:0:100n-200n:linear.
    """
    images = 200 * 400
    lr = adam(2e-4, images)
    return Pix2PixConfig(
        recipe="pix2pix-256",
        data="facades256",
        images=images,
        batch=1,
        loss="non-saturating",
        feed=FeedSettings(load_size=286, mirror=True),
        generator=TranslatorConfig(network=UNetSettings(), optimizer=lr),
        discriminator=PatchDiscriminatorConfig(network=PatchGANSettings(), optimizer=lr),
        output=OutputConfig(log_every=400, sample_every=4_000, checkpoint_every=8_000),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "edges2digits-pix2pix": edges2digits_pix2pix,
    "edges2digits-l1": edges2digits_l1,
    "edges2digits-cyclegan": edges2digits_cyclegan,
    "cyclegan-256": cyclegan_256,
    "edges2digits-pix2pix-32": edges2digits_pix2pix_32,
    "cifar10-colorize": cifar10_colorize,
    "cifar10-superres": cifar10_superres,
    "pix2pix-256": pix2pix_256,
}
"""By name."""
