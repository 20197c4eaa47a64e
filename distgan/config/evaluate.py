"""How a generator is evaluated, during training and afterwards."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from distgan.config.settings import SETTINGS, Count, PositiveCount, nearest, split_commas
from distgan.metrics.names import NAMES, THROUGH_INCEPTION, metric_of


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in NAMES:
            raise ValueError(
                f"no such metric{nearest(name[:80], list(NAMES))}; have {', '.join(NAMES)}"
            )
    return names


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EvaluateSettings:
    """Metrics of the generator's images against the data's."""

    every: Count = 0
    """Images between evaluations during training, for which it stands still; 0: none."""
    metrics: Annotated[
        tuple[str, ...], BeforeValidator(split_commas), Field(min_length=1), AfterValidator(_known)
    ] = ("frechet", "kernel")
    """Which: frechet, frechet-infinity, kernel, manifold, classifier-score, modes, sliced,
    memorisation, intra-class; of a VAE also elbo, iwae, bits-per-dimension, reconstruction,
    reconstruction-frechet, active-units, kl-dimensions; of images that are translated l1, psnr,
    ssim, feature-distance, cycle, label-score; of clips frame-frechet, clip-frechet, motion,
    digits-kept. A value's name, such as precision, means its metric;
    fid and kid are frechet and kernel through inception."""
    num: Annotated[Count, Field(ge=10, le=10_000_000)] = 5_000
    """Generated images, and as many real ones where there are; for metrics of an encoder and of
    images that are translated, held-out images."""
    held_out: str = ""
    """A set of images that were not trained on, for memorisation, metrics of an encoder, and images
    to translate, of two sets those of --data; without it, and of --data_b, what `distgan data
    prepare --validation` held out."""
    iwae_k: Annotated[PositiveCount, Field(le=100_000)] = 50
    """Importance samples of iwae for each image; papers have 5000."""
    features: str = "auto"
    """What sees the images: mnist, fashion-mnist, cifar10, stacked-mnist, efficientnet, inception;
    auto: by the data."""
    weights: Literal["ema", "generator"] = "ema"
    """The generator's moving average, or its last weights."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides the latents and every subset."""

    @model_validator(mode="after")
    def _resolved(self) -> EvaluateSettings:
        """With metrics for the names of values, and the extractor that a name says."""
        for name in self.metrics:
            if name in THROUGH_INCEPTION and self.features not in ("auto", "inception"):
                raise ValueError(
                    f"--evaluate.features {self.features}: {name} is measured through inception; "
                    f"use --evaluate.metrics {metric_of(name)}, or leave the features out"
                )
        if any(name in THROUGH_INCEPTION for name in self.metrics):
            object.__setattr__(self, "features", "inception")
        # The object is complete, and nobody else has it yet.
        metrics = tuple(dict.fromkeys(map(metric_of, self.metrics)))
        object.__setattr__(self, "metrics", metrics)
        return self
