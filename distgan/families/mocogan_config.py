"""The configuration of MoCoGAN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Literal

from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.schedule import Schedule
from distgan.config.settings import SETTINGS
from distgan.families.adversarial_config import contradictions_of_penalties, idle_of_discriminator
from distgan.families.clip_config import ClipConfig
from distgan.networks.mocogan import (
    ClipDiscriminatorSettings,
    FrameDiscriminatorSettings,
    MoCoGANGeneratorSettings,
)
from distgan.objectives.penalties import PenaltySettings

JUDGES = ("discriminator_image", "discriminator_video")
"""Settings of the discriminators, which are their roles too, in the order of their updates."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MoCoGANGeneratorConfig:
    """The generator and what trains it."""

    network: MoCoGANGeneratorSettings = field(default_factory=MoCoGANGeneratorSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = EMASettings(half_life=Schedule(0))
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FrameDiscriminatorConfig:
    """The discriminator of single frames and what trains it."""

    network: FrameDiscriminatorSettings = field(default_factory=FrameDiscriminatorSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ClipDiscriminatorConfig:
    """The discriminator of clips and what trains it."""

    network: ClipDiscriminatorSettings = field(default_factory=ClipDiscriminatorSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    """On the gradient at all frames of a clip together."""
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class MoCoGANConfig(ClipConfig):
    """Everything that decides what a run of MoCoGAN computes, whatever it runs on."""

    family: Literal["mocogan"] = "mocogan"
    """The family of models. Decides what other settings there are."""
    conditional: bool = False
    """Give the generator the labels as categories of its clips, which the discriminator of clips
    learns to tell."""
    category: NonNegativeFloat = 1.0
    """Weight of the cross entropy of the categories, in the loss of the discriminator of clips and
    in the generator's."""
    generator: MoCoGANGeneratorConfig = field(default_factory=MoCoGANGeneratorConfig)
    discriminator_image: FrameDiscriminatorConfig = field(default_factory=FrameDiscriminatorConfig)
    discriminator_video: ClipDiscriminatorConfig = field(default_factory=ClipDiscriminatorConfig)

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from ClipConfig.contradictions(self)
        for role in JUDGES:
            yield from contradictions_of_penalties(self, getattr(self, role).penalty, role)

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `RunConfig.idle`: of labels, penalties, augmentation and the moving average."""
        yield from ClipConfig.idle(self)
        for role in JUDGES:
            judge = getattr(self, role)
            yield from idle_of_discriminator(judge.penalty, judge.augment, self.health, role)
        if self.generator.ema.half_life.is_zero:
            yield "generator.ema.ramp_up", "with --generator.ema.half_life 0"
        if not self.conditional:
            yield "category", "without --conditional true"

    def search_space(self) -> dict[str, str]:
        """The generator's rate, those of the discriminators as multiples of it, and Adam's
        decay."""
        lr = "generator.optimizer.lr"
        rates = {f"{role}.optimizer.lr": f"ratio({lr}, 0.25, 4)" for role in JUDGES}
        return {**ClipConfig.search_space(self), **rates}
