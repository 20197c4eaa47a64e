"""pix2pix: an image from an image, learned from pairs by a discriminator and by L1.

Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (CVPR 2017).
Write x for the input, y for the target and G(x) for the output. In a step the discriminator
learns to tell (x, y) from (x, G(x)); then the generator minimises, against the updated one,

    adversarial loss of (x, G(x)) + 100 mean |y - G(x)|.

Both see the same G(x), with the same dropout: it is computed once where a batch is one micro-batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from distgan.config.shape import ImageShape
from distgan.families.adversarial import STATISTICS, Fakes
from distgan.families.base import Network, Phase, Step, Terms
from distgan.families.data import Batch
from distgan.families.pix2pix_config import Pix2PixConfig
from distgan.families.translation import Translation, weighted
from distgan.parallel.batchnorm import kept_statistics

_FAKE = "output with a graph"
_DRAWS = "output"
"""Of the generator's random layers, the same in both updates of a step."""


class Pix2Pix(Translation):
    """Isola et al. 2017, with the losses, penalties, networks and aids of `Pix2PixConfig`."""

    config: Pix2PixConfig

    @property
    def _adversarial(self) -> bool:
        return not self.config.adversarial.is_zero

    @property
    def statistics(self) -> tuple[str, ...]:  # type: ignore[override]
        """Those of a GAN and the weighted L1, or this alone."""
        adversarial = (name for name in STATISTICS if not name.endswith("_class"))
        return (*(adversarial if self._adversarial else ()), "g_l1")

    @property
    def signs(self) -> Mapping[str, str]:  # type: ignore[override]
        """Of the generator, and of the discriminator where there is one."""
        return {"generator": "g", **dict.fromkeys(self.judged, "d")}

    @property
    def judged(self) -> dict[str, ImageShape]:
        """The discriminator sees the output, and the input as further channels."""
        if not self._adversarial:
            return {}
        given, made = self.input_shape, self.output_shape
        channels = made.channels + (given.channels if self.config.see_input else 0)
        return {"discriminator": made._replace(channels=channels)}

    def networks(self) -> dict[str, Network]:
        """The generator, and the discriminator where there is an adversarial loss."""
        generator = self.new_generator(self.input_shape, self.output_shape)
        return {"generator": generator, **{role: self.new_discriminator() for role in self.judged}}

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The discriminator's update, then the generator's."""
        if not self._adversarial:
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

    def _seen(self, given: Tensor, made: Tensor) -> Tensor:
        """What the discriminator sees of an input and an output or a target."""
        return torch.cat([given, made], 1) if self.config.see_input else made

    def _reals(self, batch: Batch) -> Batch:
        return self.batch_of(batch, self._seen(*self.sides(batch)))

    def _discriminator_terms(self, step: Step, batch: Batch, made: Tensor) -> Terms:
        fakes: Fakes = {"fake": self._seen(self.sides(batch).input, made)}
        return self.games["discriminator"].discriminator_terms(step, self._reals(batch), fakes)

    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        return self.judge_reals(step, self._reals(batch))

    def _generator_terms(self, step: Step, batch: Batch, real: Any) -> Terms:
        given, target = self.sides(batch)
        fake = step.kept.pop(_FAKE, None)
        if fake is None:
            fake = self._output(step, given)
        terms = Terms()
        if self._adversarial:
            terms = self.generator_terms(step, batch, self._seen(given, fake), real)
            terms = weighted(terms, self.config.adversarial.at(step.images_seen))
        if step.only_coupled:
            return terms
        l1 = self.config.l1.at(step.images_seen) * (fake - target).abs().mean()
        return replace(terms, means={**terms.means, "g_l1": l1})
