"""What models that make images of images are measured and watched by."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from distgan.config.shape import ImageShape
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
    def scale(self) -> int:
        """How many times smaller the input is that the task ``small`` makes; 1 of any other."""
        found: int = getattr(self.config, "scale", 1) if self.task == "small" else 1
        return found

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

    @property
    @abstractmethod
    def input_shape(self) -> ImageShape:
        """Of what is translated."""

    @property
    @abstractmethod
    def output_shape(self) -> ImageShape:
        """Of what it becomes."""

    @abstractmethod
    def example(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Inputs of held-out rows, and their targets where these are known."""

    def reals(self, batch: Batch) -> Tensor:
        """Images of the side that outputs belong to, of rows of `input_columns`."""
        if not self.knows_targets:
            # Of one side only, where that is all that is wanted.
            return batch.columns["image" if self.config.direction == "BtoA" else "other"]
        target = self.example(batch)[1]
        assert target is not None
        return target

    @property
    def enriches(self) -> bool:
        """Whether inputs are outputs that lack something: colours or details.

        Then the input itself, in gray or enlarged, is what a model has to surpass.
        """
        given, made = self.input_shape, self.output_shape
        enlarges = given.height * given.width < made.height * made.width
        coloured = self.task == "gray" and given.channels < made.channels
        return coloured or (enlarges and given.channels == made.channels)

    def image_signs(
        self, networks: Mapping[str, nn.Module], made: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """See `distgan.families.base.Family.image_signs`: those of `distgan.health.translation`."""
        inputs, targets = self.example(batch)
        reals = self.reals(batch)
        alike = as_output(inputs, self.output_shape)
        return translation.image_signs(made, alike, reals, known=targets is not None)

    def of_translation(self, usual: Sequence[Rule]) -> tuple[Rule, ...]:
        """Rules of health for a family that makes images of images; ``usual`` are the others."""
        return translation.rules(usual)
