"""Recipes of contrastive translation: CUT and FastCUT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from distgan.config.feed import FeedSettings
from distgan.config.optimizer import EMASettings
from distgan.config.run import OutputConfig, RunConfig
from distgan.config.schedule import Schedule
from distgan.families.cut_config import CUTConfig, ProjectorConfig
from distgan.families.translation_config import PatchDiscriminatorConfig, TranslatorConfig
from distgan.networks.patchgan import PatchGANSettings
from distgan.networks.projector import ProjectorSettings
from distgan.networks.resnet_generator import ResNetGeneratorSettings
from distgan.recipes.translation import OFTEN, adam

EPOCH = 1_334
"""Images of the larger set of horse2zebra, 1,067 horses and 1,334 zebras, as published."""


def edges2digits_cut() -> CUTConfig:
    """Digits of MNIST from outlines of other digits, without pairs: CUT with narrow networks."""
    lr = adam(1e-3)
    return CUTConfig(
        recipe="edges2digits-cut",
        task="edges",
        images=20_000,
        batch=16,
        generator=TranslatorConfig(
            network=ResNetGeneratorSettings(width=16, blocks=3, antialias=True),
            optimizer=lr,
            ema=EMASettings(half_life=Schedule(2_000)),
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(layers=2, width=16, norm="instance"), optimizer=lr
        ),
        projector=ProjectorConfig(network=ProjectorSettings(width=64, init="normal"), optimizer=lr),
        output=OFTEN,
    )


def edges2digits_fastcut() -> CUTConfig:
    """The same by FastCUT."""
    return _fast(replace(edges2digits_cut(), recipe="edges2digits-fastcut", images=40_000))


def cut_256() -> CUTConfig:
    """CUT as published, for 400 epochs of 1,334 images, the larger set of horse2zebra.

    The learning rate stays for 200 epochs and falls to 0 over 200 more. If the larger set has n
    images take --images 400 n, and lr 2e-4:0:200 n-400 n:linear for all three networks. The
    published run enlarges and cuts images in its first half only.
    """
    return _published("cut-256", 200, 200)


def fastcut_256() -> CUTConfig:
    """FastCUT as published, for 200 epochs of 1,334 images, the larger set of horse2zebra.

    The learning rate stays for 150 epochs and falls to 0 over 50 more. If the larger set has n
    images take --images 200 n, and lr 2e-4:0:150 n-200 n:linear for all three networks. The
    published run enlarges and cuts images in the 150 only.
    """
    return _fast(_published("fastcut-256", 150, 50))


def _fast(config: CUTConfig) -> CUTConfig:
    return replace(config, nce=Schedule(10), nce_identity=False, flip_equivariance=True)


def _published(name: str, constant: int, falling: int) -> CUTConfig:
    """Park et al. 2020, with the networks of their code: filters where sizes change."""
    epochs = constant + falling
    images = epochs * EPOCH
    lr = adam(2e-4, images, constant / epochs)
    return CUTConfig(
        recipe=name,
        data="horses256",
        data_b="zebras256",
        images=images,
        batch=1,
        feed=FeedSettings(mirror=True, load_size=286),
        generator=TranslatorConfig(
            network=ResNetGeneratorSettings(blocks=9, antialias=True, init="xavier"),
            optimizer=lr,
        ),
        discriminator=PatchDiscriminatorConfig(
            network=PatchGANSettings(norm="instance", antialias=True, init="xavier"), optimizer=lr
        ),
        projector=ProjectorConfig(optimizer=lr),
        output=OutputConfig(log_every=EPOCH, sample_every=10 * EPOCH, checkpoint_every=20 * EPOCH),
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {
    "edges2digits-cut": edges2digits_cut,
    "edges2digits-fastcut": edges2digits_fastcut,
    "cut-256": cut_256,
    "fastcut-256": fastcut_256,
}
"""By name."""
