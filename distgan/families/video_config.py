"""The configuration of clips that are learned from few frames each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.config.clip import FrameRule
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.config.settings import SETTINGS, Width
from distgan.families.adversarial_config import contradictions_of_penalties, idle_of_discriminator
from distgan.families.clip_config import ClipConfig
from distgan.networks import GeneratorNetwork
from distgan.networks.motion import MotionSettings
from distgan.networks.video import SparseDiscriminatorSettings
from distgan.objectives.penalties import PenaltySettings


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SparseSettings:
    """The few frames of a clip that training sees."""

    frames: Annotated[int, Field(ge=2, le=64)] = 3
    """Frames of a clip."""
    span: Annotated[int, Field(ge=1, le=2**16)] = 32
    """Stored frames from the first to the last of them at most. How many there are is one of the
    powers of two up to this one, each as often."""

    @property
    def fits(self) -> bool:
        """Whether any of these distances holds so many frames."""
        return 1 << (self.span.bit_length() - 1) >= self.frames - 1

    @property
    def rule(self) -> FrameRule:
        """The rule that chooses such frames."""
        return FrameRule(self.frames, span=self.span)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class VideoGeneratorConfig:
    """The generator and what trains it."""

    network: GeneratorNetwork
    motion: MotionSettings = field(default_factory=MotionSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = field(default_factory=EMASettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class VideoDiscriminatorConfig:
    """The discriminator and what trains it."""

    network: SparseDiscriminatorSettings = field(default_factory=SparseDiscriminatorSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    """On the gradient at all frames of a clip together: a gamma that was published for the mean
    over frames is to be divided by their number."""
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class VideoConfig(ClipConfig):
    """Everything that decides what a run of the family video computes, whatever it runs on."""

    family: Literal["video"] = "video"
    """The family of models. Decides what other settings there are."""
    sparse: SparseSettings = field(default_factory=SparseSettings)
    latent: Width = 512
    """Length of the content, which is one vector for all frames of a clip."""
    generator: VideoGeneratorConfig
    discriminator: VideoDiscriminatorConfig

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from ClipConfig.contradictions(self)
        yield from contradictions_of_penalties(self, self.discriminator.penalty)
        sparse, motion = self.sparse, self.generator.motion
        if not sparse.fits:
            yield (
                f"--sparse.span {sparse.span}: no power of two up to it is as much as "
                f"{sparse.frames - 1}, which --sparse.frames {sparse.frames} needs; take "
                f"{1 << (sparse.frames - 2).bit_length()}"
            )
        if motion.longest_period < motion.shortest_period:
            yield (
                f"--generator.motion.longest_period {motion.longest_period:g}: is less than "
                f"--generator.motion.shortest_period {motion.shortest_period:g}; swap them"
            )

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `RunConfig.idle`: of labels, penalties, augmentation and the moving average."""
        yield from RunConfig.idle(self)
        yield from idle_of_discriminator(
            self.discriminator.penalty, self.discriminator.augment, self.health
        )
        if self.generator.ema.half_life.is_zero:
            yield "generator.ema.ramp_up", "with --generator.ema.half_life 0"
        network = self.generator.network
        if not self.conditional:
            for name in ("embedding", "conditioning"):
                yield f"generator.network.{name}", "without --conditional true"
        elif getattr(network, "conditioning", "concat") != "concat":
            reason = "without --generator.network.conditioning concat"
            yield "generator.network.embedding", reason
