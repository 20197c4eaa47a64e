"""What models that make images of images are measured and watched by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from distgan.families.base import Family
from distgan.families.data import Batch
from distgan.families.tasks import as_output
from distgan.families.translation_config import TranslationConfig
from distgan.health import translation
from distgan.health.diagnosis import Rule
from distgan.metrics.names import IMAGE_METRICS, TRANSLATION_METRICS

_OF_NOISE = ("memorisation", "intra-class")
"""Metrics of images that are made of random numbers and labels."""
_OF_TARGETS = ("l1", "psnr", "ssim", "feature-distance")
"""Metrics that compare an output with the image that it should be."""
EDGES = "edges"
"""The task whose inputs look like no image."""


class MeasuredTranslation(Family):
    """What `distgan.families.translation.Translation` is measured and watched by."""

    metrics: ClassVar[tuple[str, ...]] = (
        *(name for name in IMAGE_METRICS if name not in _OF_NOISE),
        *TRANSLATION_METRICS,
    )
    paired: ClassVar[bool] = True
    """Whether training sees the target of each input."""
    generators: ClassVar[tuple[str, ...]] = ("generator",)
    """Roles of the generators: of the output, and where there is one of the input."""
    config: TranslationConfig

    @property
    def task(self) -> str:
        """What makes the input of an image, by its name; empty where both sides are stored."""
        name: str = getattr(self.config, "task", "")
        return "" if name in ("pairs", "sets") else name

    @property
    def knows_targets(self) -> bool:
        """Whether it is known of held-out images what their outputs should be."""
        return self.paired or bool(self.task)

    def lacks(self, metric: str) -> str:
        """Why a run cannot be measured by a metric, with the remedy; empty where it can."""
        if metric in _OF_TARGETS and not self.knows_targets:
            return (
                "nobody knows what the images of two sets should become; measure kernel or "
                "label-score, or train with another --task, whose held-out images have targets"
            )
        if metric == "cycle" and len(self.generators) < 2:
            return (
                f"a model of the family {self.config.family} translates one way only; leave it "
                "out, or train a cyclegan"
            )
        return super().lacks(metric)

    def example(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Inputs of held-out rows, and their targets where these are known."""
        raise NotImplementedError

    def reals(self, batch: Batch) -> Tensor:
        """Images of the side that outputs belong to, of rows of `input_columns`."""
        target = self.example(batch)[1]
        if target is not None:
            return target
        return batch.columns["image" if self.config.direction == "BtoA" else "other"]

    def as_outputs(self, inputs: Tensor, reals: Tensor) -> Tensor:
        """Inputs in the shape of ``reals``; see `distgan.families.tasks.as_output`."""
        channels, height, width = reals.shape[1:]
        shape = self.data.image._replace(channels=channels, height=height, width=width)
        return as_output(inputs, shape)

    def baseline(self, inputs: Tensor, targets: Tensor) -> Tensor | None:
        """What is to be surpassed: the input itself, where it is an image of what is wanted.

        For colours that is gray and for details the bicubically enlarged image.
        """
        smaller = inputs.shape[2] * inputs.shape[3] < targets.shape[2] * targets.shape[3]
        enlarged = smaller and inputs.shape[1] == targets.shape[1]
        coloured = self.task == "gray" and self.config.direction == "AtoB"
        return self.as_outputs(inputs, targets) if enlarged or coloured else None

    def image_signs(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """See `distgan.families.base.Family.image_signs`: those of `distgan.health.translation`."""
        inputs, targets = self.example(batch)
        reals = self.reals(batch)
        alike = self.as_outputs(inputs, reals)
        return translation.image_signs(made, alike, reals, known=targets is not None)

    def of_translation(self, usual: Sequence[Rule]) -> tuple[Rule, ...]:
        """Rules of health for a family that makes images of images; ``usual`` are the others."""
        return translation.rules(usual)
