"""Likelihoods p(x|z) of variational autoencoders: their settings, and what they cost in nats.

Each is a density, or a probability of levels, of images in [-1, 1]; the formulas are those of
`distgan.objectives.variational`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat
from pydantic.dataclasses import dataclass
from torch import Tensor

from distgan.config.settings import SETTINGS
from distgan.objectives import variational
from distgan.objectives.variational import LEAST_LOG_SCALE, floored

LEAST_LOGISTIC_SCALE = -7.0
"""Lower bound of a logistic distribution's log scale: a tenth of the distance of two levels."""

Scales = Literal["one", "channel"]

Kind = Literal["cross entropy of greys", "binary", "density", "levels"]
"""What a likelihood is of: of grey pixels it is none (see `variational.bernoulli`); a probability
of black and white pixels; a density; or a probability of 256 levels."""


class LikelihoodModel(ABC):
    """What the settings of every likelihood can say."""

    name: str
    kind: Kind
    couples: bool = False
    """Whether a sample's cost depends on the others in its batch."""
    logits: bool = False
    """Whether the decoder has to return logits, and not means in [-1, 1]."""
    least_log_scale: float | None = None
    """The lower bound of a log scale that is learned or found; None without one."""

    @property
    def title(self) -> str:
        """Its name, and what it is of; nats of likelihoods with other titles do not compare."""
        return f"{self.name} ({self.kind})"

    def learned_scales(self, channels: int) -> int:
        """How many log scales the decoder learns."""
        return 0

    def means(self, output: Tensor) -> Tensor:
        """E[x|z] in [-1, 1] of the decoder's output, float (n, c, h, w) both."""
        return output

    def log_scale(self, learned: Tensor) -> Tensor:
        """The log scale that a learned parameter stands for, above its bound."""
        assert self.least_log_scale is not None
        return floored(learned, self.least_log_scale)

    @abstractmethod
    def rows(self, images: Tensor, output: Tensor, learned: Tensor | None) -> Tensor:
        """-log p(x|z) in nats; where it couples, what `of_batch` needs of each sample.

        Args:
            images: float (n, c, h, w) in [-1, 1].
            output: of the decoder, of the same shape.
            learned: of the decoder, float (scales, 1, 1), or None.

        Returns:
            float (n,).
        """

    def calibrated(self, squared_error: float) -> LikelihoodModel:
        """The same with nothing left that a batch decides, so that `rows` are -log p(x|z).

        Args:
            squared_error: the mean of (x - E[x|z])^2 over images and pixels in [-1, 1], of images
                other than those to be measured.
        """
        return self

    def of_batch(self, rows: Tensor, dimensions: int) -> Tensor:
        """The mean of -log p(x|z) over a whole global batch, a scalar in nats.

        Args:
            rows: what `rows` gives, of all samples.
            dimensions: D, the pixels times the channels.
        """
        return rows.mean()


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BernoulliSettings(LikelihoodModel):
    """Pixels are white with the probability that the decoder gives: the cross entropy."""

    name: Literal["bernoulli"] = "bernoulli"
    """Likelihood: bernoulli, gaussian or discretised-logistic."""
    binarise: bool = False
    """Draw black and white pixels anew whenever an image is seen, white with the probability of
    its grey (Burda et al. 2016). Without, grey is the target of the cross entropy, and the ELBO
    bounds no probability."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Binary only where pixels are."""
        return "binary" if self.binarise else "cross entropy of greys"

    @property
    def logits(self) -> bool:  # type: ignore[override]
        """Of the probability of white."""
        return True

    def means(self, output: Tensor) -> Tensor:
        """The probability of white, scaled to [-1, 1]."""
        return 2 * output.sigmoid() - 1

    def rows(self, images: Tensor, output: Tensor, learned: Tensor | None) -> Tensor:
        """See `variational.bernoulli`."""
        return -variational.bernoulli((images + 1) / 2, output)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GaussianSettings(LikelihoodModel):
    """Squared errors, weighed by a variance that all images share."""

    name: Literal["gaussian"] = "gaussian"
    """Likelihood: bernoulli, gaussian or discretised-logistic."""
    variance: Literal["optimal", "learned", "fixed"] = "optimal"
    """optimal: the mean squared error of each batch (Rybkin et al. 2021); learned: as weights
    are; fixed: the square of scale."""
    scale: PositiveFloat = 1.0
    """Standard deviation with variance fixed, of pixels in [-1, 1]."""
    scales: Scales = "one"
    """Those of variance learned: one for all pixels, or one a channel."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """A density."""
        return "density"

    @property
    def couples(self) -> bool:  # type: ignore[override]
        """The optimal variance is the batch's."""
        return self.variance == "optimal"

    @property
    def least_log_scale(self) -> float | None:  # type: ignore[override]
        """See `variational.LEAST_LOG_SCALE`."""
        return None if self.variance == "fixed" else LEAST_LOG_SCALE

    def learned_scales(self, channels: int) -> int:
        """None unless the variance is learned."""
        return _count(self.scales, channels) if self.variance == "learned" else 0

    def rows(self, images: Tensor, output: Tensor, learned: Tensor | None) -> Tensor:
        """See `variational.gaussian`, and `variational.squared_error` for variance optimal."""
        if self.couples:
            return variational.squared_error(images, output)
        scale = math.log(self.scale) if learned is None else self.log_scale(learned)
        return -variational.gaussian(images, output, scale)

    def calibrated(self, squared_error: float) -> LikelihoodModel:
        """Of an optimal variance, the fixed one that it is for other images."""
        if not self.couples:
            return self
        scale = max(math.sqrt(squared_error), math.exp(LEAST_LOG_SCALE))
        return replace(self, variance="fixed", scale=scale)

    def of_batch(self, rows: Tensor, dimensions: int) -> Tensor:
        """See `variational.optimal_gaussian`."""
        return (
            -variational.optimal_gaussian(rows, dimensions).mean() if self.couples else rows.mean()
        )


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscretisedLogisticSettings(LikelihoodModel):
    """Probabilities of the 256 levels of a pixel, with scales that are learned."""

    name: Literal["discretised-logistic"] = "discretised-logistic"
    """Likelihood: bernoulli, gaussian or discretised-logistic."""
    scales: Scales = "channel"
    """One learned scale for all pixels, or one a channel."""

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """Probabilities of levels."""
        return "levels"

    @property
    def least_log_scale(self) -> float:  # type: ignore[override]
        """See `LEAST_LOGISTIC_SCALE`."""
        return LEAST_LOGISTIC_SCALE

    def learned_scales(self, channels: int) -> int:
        """One, or one a channel."""
        return _count(self.scales, channels)

    def rows(self, images: Tensor, output: Tensor, learned: Tensor | None) -> Tensor:
        """See `variational.discretised_logistic`."""
        assert learned is not None
        return -variational.discretised_logistic(images, output, self.log_scale(learned))


def _count(scales: Scales, channels: int) -> int:
    return channels if scales == "channel" else 1


Likelihood = Annotated[
    BernoulliSettings | GaussianSettings | DiscretisedLogisticSettings,
    Field(discriminator="name"),
]


def binarised(images: Tensor, numbers: Tensor) -> Tensor:
    """-1 or 1 for each pixel, 1 with the probability (x + 1) / 2.

    Args:
        images: float (n, c, h, w) in [-1, 1].
        numbers: uniform in (0, 1], float (n, pixels).
    """
    white = numbers.view_as(images) <= (images + 1) / 2
    return torch.where(white, 1.0, -1.0).to(images.dtype)
