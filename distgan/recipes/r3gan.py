"""Recipes of R3GAN: those that its authors published, and each in small for two CPU cores.

Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (NeurIPS 2024), with the
settings of their released code and the durations of their paper's appendix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from distgan.augment import ADASettings
from distgan.config.feed import FeedSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.families.gan_config import DiscriminatorConfig, GANConfig, GeneratorConfig
from distgan.networks.r3gan import R3GANDiscriminatorSettings, R3GANGeneratorSettings
from distgan.objectives.penalties import PenaltySettings

CHANGES = ("blit", "geometric", "color:0.5", "cutout")
"""What the authors' augmentation is made of: all of it with one probability, colours with half."""


@dataclass(frozen=True)
class Preset:
    """What the authors chose for a set. All schedules are half cosines over the ``burn_in``.

    Args:
        about: the set, in words.
        bf16_from: side of the smallest images that are computed in bfloat16.
        images: to train on in all.
        gamma: weight of R1 and of R2 at first; a tenth in the end.
        half_life: of the moving average in the end, in images; 0 at first.
        share: of images that are changed in the end; 0 at first.
        labels: whether the model is conditional.
        fid: as published, of 50,000 images.
        widths: of the stages, from the latent side; empty for the network's own.
        groups: of the 3x3 convolutions; empty for the network's own, one for 16 channels.
        tiny_widths: of the stages in small.
        tiny_gamma: ``gamma`` in small.
    """

    about: str
    bf16_from: int
    batch: int
    images: int
    burn_in: int
    gamma: float
    half_life: int
    share: float
    labels: bool
    fid: float
    tiny_widths: tuple[int, ...]
    tiny_gamma: float
    widths: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()


_FOUR, _FIVE, _SEVEN = (64, 48, 32, 16), (64, 48, 32, 16, 8), (64, 64, 48, 32, 16, 8, 8)
PRESETS = {
    "cifar10": Preset(
        *("CIFAR-10", 8, 512, 250_000_000, 20_000_000, 0.05, 5_000_000, 0.55, True, 1.96),
        *(_FOUR, 0.5),
    ),
    "ffhq64": Preset(
        *("FFHQ at 64 pixels", 8, 256, 100_000_000, 20_000_000, 2.0, 500_000, 0.3, False, 1.95),
        *(_FIVE, 2.0),
    ),
    "ffhq256": Preset(
        *("FFHQ at 256 pixels", 32, 256, 200_000_000, 20_000_000, 150.0, 500_000, 0.3, False, 2.75),
        *(_SEVEN, 150.0),
    ),
    # Groups of 32 channels, and in the last stage as many channels as in the others.
    "imagenet32": Preset(
        *("ImageNet at 32 pixels", 8, 4096, 1_000_000_000, 200_000_000, 0.5, 50_000_000, 0.5),
        *(True, 1.27, _FOUR, 0.5, (1536,) * 4, (96,) * 4),
    ),
    "imagenet64": Preset(
        *("ImageNet at 64 pixels", 8, 4096, 1_000_000_000, 200_000_000, 1.0, 50_000_000, 0.4),
        *(True, 2.09, _FIVE, 1.0, (1536,) * 5, (96,) * 5),
    ),
}
"""By the name of the set, and of the folder that a recipe expects it in."""

_LONG = OutputConfig(log_every=20_000, sample_every=500_000, checkpoint_every=1_000_000)
_LONGEST = OutputConfig(log_every=200_000, sample_every=5_000_000, checkpoint_every=10_000_000)


def published(preset: Preset, recipe: str, data: str) -> GANConfig:
    """The configuration of a preset."""
    burn_in = preset.burn_in
    adam = AdamSettings(
        lr=Schedule(2e-4, 5e-5, burn_in), beta1=Schedule(0), beta2=Schedule(0.9, 0.99, burn_in)
    )
    gamma = Schedule(preset.gamma, preset.gamma / 10, burn_in)
    widths, groups, low = preset.widths, preset.groups, preset.bf16_from
    return GANConfig(
        recipe=recipe,
        data=data,
        images=preset.images,
        batch=preset.batch,
        latent=64,
        conditional=preset.labels,
        loss="relativistic",
        feed=FeedSettings(mirror=True),
        generator=GeneratorConfig(
            network=R3GANGeneratorSettings(widths=widths, cardinality=groups, bf16_from=low),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(0, preset.half_life, burn_in), ramp_up=0),
            fresh_reals=True,
        ),
        discriminator=DiscriminatorConfig(
            network=R3GANDiscriminatorSettings(
                widths=widths[::-1], cardinality=groups[::-1], bf16_from=low
            ),
            optimizer=adam,
            penalty=PenaltySettings(r1=gamma, r2=gamma, at="raw"),
            augment=ADASettings(groups=CHANGES, probability=Schedule(0, preset.share, burn_in)),
        ),
        output=_LONGEST if preset.images > 500_000_000 else _LONG,
    )


def tiny(preset: Preset, recipe: str, data: str) -> GANConfig:
    """The same in small: narrow stages of one block, in float32, and a burn-in of 100k images."""
    burn_in, widths = 100_000, preset.tiny_widths
    adam = AdamSettings(
        lr=Schedule(1e-3, 3e-4, burn_in), beta1=Schedule(0), beta2=Schedule(0.9, 0.99, burn_in)
    )
    gamma = Schedule(preset.tiny_gamma, preset.tiny_gamma / 10, burn_in)
    return GANConfig(
        recipe=recipe,
        data=data,
        images=burn_in,
        batch=64 if len(widths) < 6 else 16,
        latent=32,
        conditional=preset.labels,
        loss="relativistic",
        feed=FeedSettings(mirror=True),
        generator=GeneratorConfig(
            network=R3GANGeneratorSettings(widths=widths, blocks=(1,)),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(2_000), ramp_up=0.05),
            fresh_reals=True,
        ),
        discriminator=DiscriminatorConfig(
            network=R3GANDiscriminatorSettings(widths=widths[::-1], blocks=(1,)),
            optimizer=adam,
            penalty=PenaltySettings(r1=gamma, r2=gamma, at="raw"),
            augment=ADASettings(groups=CHANGES, probability=Schedule(0, preset.share, burn_in)),
        ),
        output=OutputConfig(log_every=2_000, sample_every=20_000, checkpoint_every=40_000),
    )


def _recipe(name: str, small: bool) -> Callable[[], GANConfig]:
    preset = PRESETS[name]

    def build() -> GANConfig:
        make = tiny if small else published
        return make(preset, f"{name}-r3gan{'-tiny' if small else ''}", name)

    build.__doc__ = (
        "The same with narrow stages of one block, for two CPU cores."
        if small
        else f"R3GAN on {preset.about} (Huang et al., NeurIPS 2024; published FID {preset.fid})."
    )
    return build


RECIPES: dict[str, Callable[[], GANConfig]] = {
    f"{name}-r3gan{'-tiny' if small else ''}": _recipe(name, small)
    for name in PRESETS
    for small in (False, True)
}
"""By name."""
