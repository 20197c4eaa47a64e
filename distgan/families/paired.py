"""Translation that learns from pairs: outputs are to come near to their targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distgan.config.shape import ImageShape
from distgan.families.adversarial import STATISTICS
from distgan.families.base import Network
from distgan.families.data import Batch
from distgan.families.one_way import OneWayTranslation
from distgan.families.tasks import resized
from distgan.families.terms import Step, Terms, weighted
from distgan.families.translation_config import PairedConfig


class PairedTranslation(OneWayTranslation):
    """A generator that comes near to targets, and a discriminator that knows these from outputs."""

    config: PairedConfig

    @property
    @abstractmethod
    def distances(self) -> tuple[str, ...]:
        """Names of what `apart` gives."""

    @abstractmethod
    def apart(self, images_seen: int, made: Tensor, target: Tensor) -> dict[str, Tensor]:
        """How far outputs are from targets, weighted: scalars by name, means over samples."""

    @property
    def statistics(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of a GAN where there is a discriminator, and the weighted distances."""
        adversarial = (name for name in STATISTICS if not name.endswith("_class"))
        return (*(adversarial if self.config.plays else ()), *self.distances)

    @property
    def signs(self) -> Mapping[str, str]:  # type: ignore[override]
        """Of the generator, and of the discriminator where there is one."""
        return {"generator": "g", **dict.fromkeys(self.judged, "d")}

    @property
    def judged(self) -> dict[str, ImageShape]:
        """The discriminator sees the output, and the input as further channels."""
        if not self.config.plays:
            return {}
        given, made = self.input_shape, self.output_shape
        channels = made.channels + (given.channels if self.config.see_input else 0)
        return {"discriminator": made._replace(channels=channels)}

    def networks(self) -> dict[str, Network]:
        """The generator, and the discriminator where there is one."""
        generator = self.new_generator(self.input_shape, self.output_shape)
        return {"generator": generator, **{role: self.new_discriminator() for role in self.judged}}

    def given(self, batch: Batch) -> Tensor:
        """The inputs, float (n, c, h, w)."""
        return self.sides(batch).input

    def seen(self, given: Tensor, made: Tensor) -> Tensor:
        """What the discriminator sees of an input and an output or a target, (n, c, h, w)."""
        if not self.config.see_input:
            return made
        return torch.cat([resized(given, made.shape[2], made.shape[3]), made], 1)

    def generator_update(self, step: Step, batch: Batch, made: Tensor, real: Any) -> Terms:
        """The adversarial terms where there is a discriminator, and the weighted distances."""
        terms = self.judged_terms(step, batch, made, real) if self.config.plays else Terms()
        if step.only_coupled:
            return terms
        apart = self.apart(step.images_seen, made, self.sides(batch).target)
        return replace(terms, means={**terms.means, **apart})

    def judged_terms(self, step: Step, batch: Batch, made: Tensor, real: Tensor | None) -> Terms:
        """What the discriminator adds to the generator's loss: ``g_loss``, weighted.

        Args:
            made: outputs, float (n, c, h, w).
            real: logits of the reals for a ``relative`` loss, else None.
        """
        seen = self.seen(self.sides(batch).input, made)
        return self.weighed(step, self.generator_terms(step, batch, seen, real))

    def weighed(self, step: Step, terms: Terms) -> Terms:
        """The terms of the adversarial loss times its weight of now."""
        return weighted(terms, self.config.adversarial.at(step.images_seen))
