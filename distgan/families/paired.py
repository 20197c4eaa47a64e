"""A step of translation that learns from pairs: the discriminator's update, then the generator's.

Write x for the input, y for the target and G(x) for the output. Both updates see the same G(x),
with the same dropout: it is computed once where a batch is one micro-batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distgan.config.shape import ImageShape
from distgan.families.adversarial import STATISTICS, Fakes
from distgan.families.base import Network
from distgan.families.data import Batch
from distgan.families.tasks import resized
from distgan.families.terms import Phase, Step, Terms, weighted
from distgan.families.translation import Translation
from distgan.families.translation_config import PairedConfig
from distgan.parallel.batchnorm import kept_statistics

_FAKE = "output with a graph"
_DRAWS = "output"
"""Of the generator's random layers, the same in both updates of a step."""


class PairedTranslation(Translation):
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

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The discriminator's update, then the generator's."""
        if not self.config.plays:
            return (Phase("generator", ("generator",), self._generator_terms),)
        loss = self.games["discriminator"].loss
        return (
            Phase(
                "discriminator",
                ("discriminator",),
                self._discriminator_terms,
                self._make,
                coupled=loss.couples,
            ),
            Phase(
                "generator",
                ("generator",),
                self._generator_terms,
                self._judge_reals if loss.relative else None,
                through=("discriminator",),
                coupled=loss.couples,
            ),
        )

    def _make(self, step: Step, batch: Batch) -> Tensor:
        """G(x) for the discriminator, float (n, c, h, w), without a graph."""
        given = self.sides(batch).input
        if step.micro_batches == 1:
            fake = self._output(step, given, shared=True)
            step.kept[_FAKE] = fake
            return fake.detach()
        with torch.no_grad(), kept_statistics(step["generator"]):
            return self._output(step, given)

    def _output(self, step: Step, given: Tensor, shared: bool = False) -> Tensor:
        network = step.with_gradients("generator") if shared else step["generator"]
        with step.autocast(), step.samples("", phase=_DRAWS):
            made: Tensor = network(given)
        return made.to(given.dtype)

    def seen(self, given: Tensor, made: Tensor) -> Tensor:
        """What the discriminator sees of an input and an output or a target, (n, c, h, w)."""
        if not self.config.see_input:
            return made
        return torch.cat([resized(given, made.shape[2], made.shape[3]), made], 1)

    def _reals(self, batch: Batch) -> Batch:
        return self.batch_of(batch, self.seen(*self.sides(batch)))

    def _discriminator_terms(self, step: Step, batch: Batch, made: Tensor) -> Terms:
        fakes: Fakes = {"fake": self.seen(self.sides(batch).input, made)}
        return self.games["discriminator"].discriminator_terms(step, self._reals(batch), fakes)

    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        return self.judge_reals(step, self._reals(batch))

    def _generator_terms(self, step: Step, batch: Batch, real: Any) -> Terms:
        fake = step.kept.pop(_FAKE, None)
        if fake is None:
            fake = self._output(step, self.sides(batch).input)
        terms = self.judged_terms(step, batch, fake, real) if self.config.plays else Terms()
        if step.only_coupled:
            return terms
        apart = self.apart(step.images_seen, fake, self.sides(batch).target)
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
