"""The configuration of a noise-to-image GAN."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.run import RunConfig
from distgan.config.schedule import Schedule, Share
from distgan.config.settings import SETTINGS, Width
from distgan.families.adversarial_config import (
    contradictions_of_penalties,
    idle_of_discriminator,
    known_loss,
)
from distgan.networks import DiscriminatorNetwork, GeneratorNetwork
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import PenaltySettings


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GeneratorConfig:
    """The generator and what trains it."""

    network: GeneratorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = field(default_factory=EMASettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""
    top_k: Share = Schedule(1)
    """Learn from this share of the fakes, those D believes most (Sinha et al. 2020)."""
    fresh_reals: bool = False
    """In the generator's update with a relativistic loss, compare the fakes with the reals of the
    next batch, not with those that D was just updated with; the fakes get the labels of these
    reals."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscriminatorConfig:
    """The discriminator and what trains it."""

    network: DiscriminatorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    updates: Annotated[int, Field(gt=0, le=10_000)] = 1
    """Updates of the discriminator, each on its own batch, for one of the generator."""
    auxiliary: NonNegativeFloat = 1.0
    """Weight of the classes' cross entropy, for a network with conditioning auxiliary."""
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GANConfig(RunConfig):
    """Everything that decides what a run of a GAN computes, whatever it runs on."""

    family: Literal["gan"] = "gan"
    """The family of models. Decides what other settings there are."""
    latent: Width = 100
    """Length of the generator's input z."""
    conditional: bool = False
    """Give both networks the labels."""
    loss: Annotated[str, AfterValidator(known_loss)] = "non-saturating"
    """Adversarial loss: non-saturating, minimax, least-squares, hinge, wasserstein,
    relativistic or relativistic-average."""
    share_fakes: bool = False
    """Run the generator once a step for both updates, instead of once for each."""
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from RunConfig.contradictions(self)
        yield from contradictions_of_penalties(self, self.discriminator.penalty)
        if self.share_fakes and self.generator.fresh_reals:
            yield (
                "--share_fakes true: gives both updates the same labels, but with "
                "--generator.fresh_reals true those of the generator are the next batch's; leave "
                "one of them out"
            )

    def idle(self) -> Iterator[tuple[str, str]]:
        """As `RunConfig.idle`: of labels, penalties, augmentation and the moving average."""
        yield from RunConfig.idle(self)
        yield from self._idle_of_labels()
        yield from idle_of_discriminator(
            self.discriminator.penalty, self.discriminator.augment, self.health
        )
        if self.generator.ema.half_life.is_zero:
            yield "generator.ema.ramp_up", "with --generator.ema.half_life 0"
        if not LOSSES[self.loss].relative:
            reason = f"with --loss {self.loss}, in which the generator's update sees no reals"
            yield "generator.fresh_reals", reason

    def _idle_of_labels(self) -> Iterator[tuple[str, str]]:
        networks = {
            "generator": self.generator.network,
            "discriminator": self.discriminator.network,
        }
        if not self.conditional:
            for role in networks:
                for name in ("embedding", "conditioning"):
                    yield f"{role}.network.{name}", "without --conditional true"
            yield "discriminator.auxiliary", "without --conditional true"
            return
        for role, network in networks.items():
            if getattr(network, "conditioning", "concat") != "concat":
                reason = f"without --{role}.network.conditioning concat"
                yield f"{role}.network.embedding", reason
        if getattr(self.discriminator.network, "conditioning", "") != "auxiliary":
            reason = "without --discriminator.network.conditioning auxiliary"
            yield "discriminator.auxiliary", reason

    def search_space(self) -> dict[str, str]:
        """What is worth trying for any recipe, by what GANs are known to be sensitive to.

        The generator's rate and the discriminator's as a multiple of it (two time-scales, Heusel
        et al. 2017), the decays of Adam, the weight of R1 (Mescheder et al. 2018), updates of D
        for one of G, the half-life of the moving average, the batch, and augmentation of D's
        images (Zhao et al. 2020).
        """
        generator, discriminator = self.generator, self.discriminator
        half_life, r1 = generator.ema.half_life, discriminator.penalty.r1
        updates = sorted({1, 2, discriminator.updates})
        lr = "generator.optimizer.lr"
        aug = discriminator.augment.name
        own = "choice(none, diffaugment)" if aug == "none" else f"choice({aug}, none)"
        space = {
            lr: "scale(0.3, 10)",
            "discriminator.optimizer.lr": f"ratio({lr}, 0.25, 4)",
            "generator.optimizer.beta1": "choice(0, 0.25, 0.5)",
            "discriminator.optimizer.beta1": "same(generator.optimizer.beta1)",
            "generator.optimizer.beta2": "choice(0.9, 0.99, 0.999)",
            "discriminator.optimizer.beta2": "same(generator.optimizer.beta2)",
            "discriminator.penalty.r1": "choice(0, 0.01, 0.1, 1)"
            if r1.is_zero
            else "scale(0.1, 10)",
            "discriminator.updates": f"choice({', '.join(map(str, updates))})",
            "generator.ema.half_life": (
                "choice(0, 5000, 20000)" if half_life.is_zero else "scale(0.1, 3)"
            ),
            "batch": self._batches(),
            "discriminator.augment.name": own,
        }
        if self.compile != "off":
            del space["discriminator.penalty.r1"]
        return space

    def _batches(self) -> str:
        wanted = (self.batch // 2, self.batch, 2 * self.batch)
        fitting = [b for b in wanted if b and b % self.accumulate == 0]
        return f"choice({', '.join(map(str, fitting))})"
