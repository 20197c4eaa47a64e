"""Recipes of clips that are learned from few frames each."""

from __future__ import annotations

from collections.abc import Callable

from distgan.augment.diffaugment import DiffAugmentSettings
from distgan.config.clip import ClipSettings
from distgan.config.feed import FeedSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import OutputConfig
from distgan.config.schedule import Schedule
from distgan.families.video_config import (
    SparseSettings,
    VideoConfig,
    VideoDiscriminatorConfig,
    VideoGeneratorConfig,
)
from distgan.networks.dcgan import DCGANGeneratorSettings
from distgan.networks.motion import MotionSettings
from distgan.networks.r3gan import R3GANGeneratorSettings
from distgan.networks.video import SparseDiscriminatorSettings
from distgan.objectives.penalties import PenaltySettings


def _adam(lr: float) -> AdamSettings:
    return AdamSettings(lr=Schedule(lr), beta1=Schedule(0), beta2=Schedule(0.99))


def moving_mnist_video() -> VideoConfig:
    """Digits that move, at any times, from three frames of each clip; for two CPU cores."""
    return VideoConfig(
        recipe="moving-mnist-video",
        data="moving-mnist-small",
        images=100_000,
        batch=16,
        clip=ClipSettings(frames=16),
        sparse=SparseSettings(frames=3, span=16),
        latent=64,
        generator=VideoGeneratorConfig(
            network=DCGANGeneratorSettings(width=32),
            motion=MotionSettings(
                size=64,
                knot_distance=4,
                kernel=3,
                frequencies=32,
                shortest_period=8.0,
                longest_period=64.0,
            ),
            optimizer=_adam(2e-3),
            ema=EMASettings(half_life=Schedule(1_000)),
        ),
        discriminator=VideoDiscriminatorConfig(
            network=SparseDiscriminatorSettings(
                width=32, widest=128, join_at=8, blocks=0, time_embedding=32
            ),
            optimizer=_adam(1e-3),
            penalty=PenaltySettings(r1=Schedule(0.3), every=128),
        ),
        output=OutputConfig(log_every=2_000, sample_every=10_000, checkpoint_every=20_000),
    )


def video_256() -> VideoConfig:
    """Clips of 256 pixels, with the durations and the motion of StyleGAN-V.

    See Skorokhodov et al. (CVPR 2022): 25 million clips in batches of 64, of which three frames are
    seen that lie at most 32 apart. The published results are not to be expected: the networks are
    the project's. Frames are made by R3GAN's generator instead of StyleGAN2's, without a mapping of
    the content; learning rates are those of R3GAN; augmentation is DiffAugment instead of ADA; and
    R1's gamma, 1 for a mean over the three frames, was chosen here. Nobody has trained it to the
    end.
    """
    adam = _adam(2e-4)
    return VideoConfig(
        recipe="video-256",
        data="clips256",
        images=25_000_000,
        batch=64,
        feed=FeedSettings(mirror=True),
        clip=ClipSettings(frames=16),
        sparse=SparseSettings(frames=3, span=32),
        latent=512,
        generator=VideoGeneratorConfig(
            network=R3GANGeneratorSettings(),
            optimizer=adam,
            ema=EMASettings(half_life=Schedule(20_000)),
        ),
        discriminator=VideoDiscriminatorConfig(
            optimizer=adam,
            penalty=PenaltySettings(r1=Schedule(1 / 3), every=1_024),
            augment=DiffAugmentSettings(),
        ),
        output=OutputConfig(log_every=20_000, sample_every=500_000, checkpoint_every=1_000_000),
    )


RECIPES: dict[str, Callable[[], VideoConfig]] = {
    "moving-mnist-video": moving_mnist_video,
    "video-256": video_256,
}
"""By name."""
