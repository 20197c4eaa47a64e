"""The noise-to-image GAN: a generator that a discriminator's judgement trains.

What an update computes is in `distgan.families.adversarial`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from distgan.augment import Augmenter
from distgan.augment.adaptation import Adaptation
from distgan.families.adversarial import STATISTICS, AdversarialTerms
from distgan.families.base import Family, Interface, Network, Stateful
from distgan.families.data import Batch, Column, DataSpec, Draw
from distgan.families.gan_config import GANConfig
from distgan.families.terms import Phase
from distgan.health.diagnosis import ADVERSARIAL, Rule
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import Penalty
from distgan.parallel import World


class GAN(Family):
    """Goodfellow et al. 2014, with the losses, penalties, networks and aids of `GANConfig`."""

    statistics: ClassVar[tuple[str, ...]] = STATISTICS
    signs: ClassVar[Mapping[str, str]] = {"discriminator": "d", "generator": "g"}
    averaged: ClassVar[tuple[str, ...]] = ("generator",)
    config: GANConfig

    def __init__(self, config: GANConfig, data: DataSpec, world: World) -> None:
        super().__init__(config, data, world)
        discriminator = config.discriminator
        self._augment = Augmenter(discriminator.augment, world.device)
        self._penalty = Penalty(discriminator.penalty, config.batch, world.device)
        self._terms = AdversarialTerms(
            loss=LOSSES[config.loss],
            penalty=self._penalty,
            augment=self._augment,
            share_fakes=config.share_fakes,
            auxiliary=discriminator.auxiliary,
            top_k=config.generator.top_k,
        )

    @property
    def conditional(self) -> bool:
        """Whether the networks take labels."""
        return self.config.conditional

    @property
    def _fresh_reals(self) -> bool:
        return self.config.generator.fresh_reals and LOSSES[self.config.loss].relative

    def columns(self) -> dict[str, Column]:
        """Those of every family, and of the next batch where the generator sees its reals."""
        found = super().columns()
        if not self._fresh_reals:
            return found
        later = {f"next-{name}": replace(each, next_batch=True) for name, each in found.items()}
        return {**found, **later}

    def draws(self) -> dict[str, Draw]:
        """Latents of both updates, and what augmentations and penalties use up."""
        updates = ("generator",) if self.config.share_fakes else ("discriminator", "generator")
        found = dict.fromkeys(updates, Draw("normal", self.config.latent))
        size = self.config.discriminator.augment.numbers
        uses = ("real", "fake", "generator", *(("next",) if self._fresh_reals else ()))
        for use in uses if size else ():
            found[f"augment-{use}"] = Draw("uniform", size)
        for name, numbers in self.config.discriminator.penalty.numbers(self.data.image).items():
            found[f"penalty-{name}"] = Draw("uniform", numbers)
        return found

    def networks(self) -> dict[str, Network]:
        """The generator, of which an average is kept, and the discriminator."""
        config, image = self.config, self.data.image
        g, d = config.generator, config.discriminator
        generator = g.network.build(image, config.latent, self.labels)
        discriminator = d.network.build(image, self.labels)
        label = torch.zeros(1, dtype=torch.int64) if self.labels else None
        z, images = torch.zeros(1, config.latent), torch.zeros(1, *image)
        return {
            "generator": Network(
                generator, (z, label), g.optimizer, g.clip_norm, average=g.ema, every=d.updates
            ),
            "discriminator": Network(discriminator, (images, label), d.optimizer, d.clip_norm),
        }

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The discriminator's update; the generator's with the last of several in a row."""
        return self._terms.phases(images_seen, self.generators_turn(images_seen))

    def generators_turn(self, images_seen: int) -> bool:
        """Whether the step after so many images updates the generator, too."""
        updates = self.config.discriminator.updates
        return images_seen // self.config.batch % updates == updates - 1

    def inputs(self) -> dict[str, Draw]:
        """The generator's z."""
        return {"generator": Draw("normal", self.config.latent)}

    def generate(self, networks: Mapping[str, nn.Module], batch: Batch) -> Tensor:
        """G(z), float (n, c, h, w)."""
        made: Tensor = networks["generator"](batch.draws["generator"], batch.labels)
        return made

    def interfaces(self) -> dict[str, Interface]:
        """The generator, from z to images, and the discriminator, from images to logits."""
        label = {"label": self.labels} if self.labels else {}
        image = list(self.data.image)
        return {
            "generator": Interface({"z": self.config.latent, **label}, "images", generates=True),
            "discriminator": Interface({"images": image, **label}, "logits"),
        }

    def health_rules(self) -> tuple[Rule, ...]:
        """Those of every family, a stalled generator, and either side winning."""
        return (*super().health_rules(), *ADVERSARIAL)

    def health_signs(self, images_seen: int) -> dict[str, float]:
        """The share of its highest rate that G learns with, and whether D(x) is a probability."""
        rate = self.config.generator.optimizer.lr
        return {
            "g_rate": rate.at(images_seen) / max(*rate.values, 1e-30),
            "probability": float(LOSSES[self.config.loss].probability),
        }

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """How far D's mean probability is from 1/2, which it would be for one that is even."""
        return {"d_calibration": (means["d_real"] + means["d_fake"]) / 2 - 0.5}

    def extra_state(self) -> dict[str, Stateful]:
        """LeCam's running means, and the probability of an adaptive augmentation."""
        adaptation = self.adaptation
        return {"penalty": self._penalty, **({"augment": adaptation} if adaptation else {})}

    @property
    def adaptation(self) -> Adaptation | None:
        """What sets the augmentation's probability, if anything does."""
        return self._augment.adaptation

    def before_step(self, images_seen: int) -> None:
        """Follow the schedule of the augmentation's probability."""
        self._augment.follow_schedule(images_seen)

    def after_step(self, networks: Mapping[str, nn.Module]) -> None:
        """Move running means and the augmentation's probability, clamp weights."""
        self._penalty.after_update(networks["discriminator"], self.world)
        if self.adaptation is not None:
            self.adaptation.move(self.config.batch, self.world)

    @property
    def lazy_interval(self) -> int:
        """Images between two penalties on gradients."""
        return self.config.discriminator.penalty.every

    def gauges(self) -> dict[str, float]:
        """The probability of an adaptive augmentation."""
        adaptation = self.adaptation
        return {} if adaptation is None else {"augment_p": adaptation.probability.item()}
