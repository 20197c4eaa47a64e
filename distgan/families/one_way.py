"""A step of translation one way: the discriminator's update, then the generator's.

Write x for the input and G(x) for the output. Both updates see the same G(x), with the same
dropout: it is computed once where a batch is one micro-batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from distgan.families.adversarial import Fakes
from distgan.families.data import Batch
from distgan.families.terms import Phase, Step, Terms
from distgan.families.translation import Translation
from distgan.parallel.batchnorm import kept_statistics

_OUTPUT = "output with a graph"
_DRAWS = "output"
"""Of the generator's random layers, the same in both updates of a step."""


class OneWayTranslation(Translation):
    """A generator and a discriminator; what else the generator minimises is the family's."""

    trained: ClassVar[tuple[str, ...]] = ("generator",)
    """Roles of the networks that the generator's update trains."""

    @abstractmethod
    def given(self, batch: Batch) -> Tensor:
        """What the generator is run on, float (parts n, c, h, w): the inputs, and what follows."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts of `given`, each with an image for every sample; first the inputs."""
        return ("",)

    @abstractmethod
    def generator_update(self, step: Step, batch: Batch, made: Tensor, real: Any) -> Terms:
        """The terms of the generator's update.

        Args:
            made: what the generator makes of `given`, float (parts n, c, h, w), with a graph.
            real: the discriminator's logits of the reals for a ``relative`` loss, else None.
        """

    def seen(self, given: Tensor, made: Tensor) -> Tensor:
        """What the discriminator sees of an input and an output or a target, (n, c, h, w)."""
        return made

    def phases(self, images_seen: int) -> Sequence[Phase]:
        """The discriminator's update where there is one, then the generator's."""
        if not self.games:
            return (Phase("generator", self.trained, self._generator_terms),)
        loss = self.games["discriminator"].loss
        discriminator = Phase(
            "discriminator",
            ("discriminator",),
            self._discriminator_terms,
            self._make,
            coupled=loss.couples,
        )
        generator = Phase(
            "generator",
            self.trained,
            self._generator_terms,
            self._judge_reals if loss.relative else None,
            through=("discriminator",),
            coupled=loss.couples,
        )
        return discriminator, generator

    def _make(self, step: Step, batch: Batch) -> Tensor:
        """G(x) for the discriminator, float (n, c, h, w), without a graph."""
        given = self.given(batch)
        count = len(given) // len(self.parts)
        if step.micro_batches == 1:
            made = step.kept[_OUTPUT] = self._run(step, given, self.parts, shared=True)
            return made.detach()[:count]
        # What a batch norm makes of the inputs depends on what follows them.
        parts = self.parts[:1] if step.independent("generator") else self.parts
        with torch.no_grad(), kept_statistics(step["generator"]):
            return self._run(step, given[: count * len(parts)], parts)[:count]

    def _run(self, step: Step, given: Tensor, parts: Sequence[str], shared: bool = False) -> Tensor:
        network = step.with_gradients("generator") if shared else step["generator"]
        with step.autocast(), step.samples(*parts, phase=_DRAWS):
            made: Tensor = network(given)
        return made.to(given.dtype)

    def _reals(self, batch: Batch) -> Batch:
        return self.batch_of(batch, self.seen(*self.sides(batch)))

    def _discriminator_terms(self, step: Step, batch: Batch, made: Tensor) -> Terms:
        fakes: Fakes = {"fake": self.seen(self.sides(batch).input, made)}
        return self.games["discriminator"].discriminator_terms(step, self._reals(batch), fakes)

    def _judge_reals(self, step: Step, batch: Batch) -> Tensor:
        return self.judge_reals(step, self._reals(batch))

    def _generator_terms(self, step: Step, batch: Batch, real: Any) -> Terms:
        made = step.kept.pop(_OUTPUT, None)
        if made is None:
            made = self._run(step, self.given(batch), self.parts)
        return self.generator_update(step, batch, made, real)
