"""What every configuration of image translation has to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, NonNegativeFloat
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS, leaves, parse_count
from distgan.families.adversarial_config import (
    contradictions_of_penalties,
    idle_of_discriminator,
    known_loss,
)
from distgan.networks import PatchDiscriminatorNetwork, TranslatorNetwork
from distgan.objectives.penalties import PenaltySettings

# Published recipes draw samples with the weights as they were last updated.
_NO_AVERAGE = EMASettings(half_life=Schedule(0))


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TranslatorConfig:
    """A generator of images from images, and what trains it."""

    network: TranslatorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = _NO_AVERAGE
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PatchDiscriminatorConfig:
    """A discriminator that judges patches, and what trains it."""

    network: PatchDiscriminatorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TranslationConfig(RunConfig):
    """What image translation adds to every run."""

    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which side is the input. A is the image and B its pair; of a task that makes the input from
    the image, A is that input and B the image; of two sets, A is --data and B --data_b."""
    loss: Annotated[str, AfterValidator(known_loss)] = "least-squares"
    """Adversarial loss: non-saturating, minimax, least-squares, hinge, wasserstein,
    relativistic or relativistic-average."""
    generator: TranslatorConfig
    discriminator: PatchDiscriminatorConfig

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from RunConfig.contradictions(self)
        yield from contradictions_of_penalties(self, self.discriminator.penalty)

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `RunConfig.idle`: of penalties and the moving average."""
        yield from RunConfig.idle(self)
        yield from idle_of_discriminator(
            self.discriminator.penalty, self.discriminator.augment, self.health
        )
        if self.generator.ema.half_life.is_zero:
            yield "generator.ema.ramp_up", "with --generator.ema.half_life 0"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PairedConfig(TranslationConfig):
    """Translation that learns from pairs of input and target."""

    task: Literal["pairs", "edges", "gray", "small"] = "pairs"
    """Where pairs come from. pairs: the set has a column of them. Or the input is made from each
    image: edges its outlines, gray its brightness, small the image itself, --scale times smaller.
    """
    scale: Annotated[Literal[2, 4], BeforeValidator(parse_count)] = 4
    """How many times larger the image is than the input, on each side, with --task small."""
    adversarial: Strength = Schedule(1)
    """Weight of the adversarial loss in the generator's; 0 for learning by distances alone, the
    honest baseline."""
    see_input: bool = True
    """Show the discriminator the input beside the output, enlarged to the size of that; without,
    the output alone."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `TranslationConfig.idle`: of the task, and without a discriminator what it has."""
        yield from TranslationConfig.idle(self)
        if self.task != "small":
            yield "scale", "without --task small"
        if not self.plays:
            for name in ("loss", "see_input", *self._of_discriminator):
                yield name, "without a discriminator, as with --adversarial 0"

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from TranslationConfig.contradictions(self)
        if not self.plays and self.health.change != "halve-lr":
            yield (
                f"--health.change {self.health.change}: without a discriminator, as with "
                "--adversarial 0, there is no penalty R1 to double after a rollback; use halve-lr"
            )

    def search_space(self) -> dict[str, str]:
        """As of every run; without a discriminator nothing of that."""
        found = TranslationConfig.search_space(self)
        idle = () if self.plays else self._of_discriminator
        return {name: space for name, space in found.items() if name not in idle}

    @property
    def _of_discriminator(self) -> list[str]:
        return [
            setting.name for setting in leaves(self) if setting.name.startswith("discriminator.")
        ]

    @property
    def plays(self) -> bool:
        """Whether there is a discriminator."""
        return not self.adversarial.is_zero


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class UnpairedConfig(TranslationConfig):
    """Translation that learns from two sets of images."""

    task: Literal["sets", "edges", "gray"] = "sets"
    """Where the two sides come from. sets: --data and --data_b. Or both from --data: the input is
    made from the images of the first half of the set, as outlines (edges) or brightness (gray), and
    the target side is the second half. So no input meets its own image in training, and held-out
    images tell how right the results are."""
    data_b: str = ""
    """The set of side B, as --data names that of side A."""

    @property
    def second_set(self) -> str:
        """``data_b``."""
        return self.data_b

    @property
    def halved(self) -> bool:
        """Whether the sides are two halves of one set."""
        return self.task != "sets"

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from TranslationConfig.contradictions(self)
        if self.task != "sets" and self.data_b:
            yield f"--data_b {self.data_b}: goes with --task sets, not with --task {self.task}"

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `TranslationConfig.idle`."""
        yield from TranslationConfig.idle(self)
        if self.task != "sets":
            yield "data_b", f"with --task {self.task}"
