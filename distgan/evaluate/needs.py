"""How many images each metric needs; with fewer it is undefined or not a number."""

from __future__ import annotations

from typing import NamedTuple

from distgan.config.evaluate import EvaluateSettings
from distgan.errors import UserError
from distgan.evaluate.extraction import MOST_FEATURES
from distgan.metrics.manifold import NEIGHBOURS


class Need(NamedTuple):
    """The smallest numbers of real and of generated images."""

    real: int
    fake: int


NEEDS = {
    # A covariance and an unbiased estimate need two samples.
    "frechet": Need(2, 2),
    # More than that depends on the extractor: see `check_features`.
    "frechet-infinity": Need(10, 10),
    "kernel": Need(2, 2),
    # Each image and its k nearest neighbours.
    "manifold": Need(NEIGHBOURS + 1, NEIGHBOURS + 1),
    # Two in each of ten splits: the score of one image is 1, whatever it is.
    "classifier-score": Need(1, 20),
    "modes": Need(1, 1),
    "sliced": Need(2, 2),
    # Each training image is compared with its nearest neighbour among the others.
    "memorisation": Need(2, 1),
    # In at least one class.
    "intra-class": Need(2, 2),
    # Of clips.
    "frame-frechet": Need(2, 2),
    "clip-frechet": Need(2, 2),
}
"""By the names of `distgan.evaluate.measures.MEASURES`, and of `distgan.evaluate.clips`."""


_IMAGES_PER_FEATURE = 2
"""With fewer, the covariance of half of them has not the full rank, and the distance is no line
over 1 / images. With as many, a twentieth of the bias is left."""


def check_features(settings: EvaluateSettings, features: int, real: int) -> None:
    """Check that a metric that extrapolates has enough images for the length of the features.

    Args:
        features: of an image.
        real: images of the set.

    Raises:
        UserError: naming the metric, and how many it needs.
    """
    need = _IMAGES_PER_FEATURE * features
    if "frechet-infinity" not in settings.metrics or min(settings.num, real, MOST_FEATURES) >= need:
        return
    remedy = "leave it out"
    if need <= MOST_FEATURES and real >= need:
        remedy = f"use --evaluate.num {need}, or leave it out"
    raise UserError(
        f"--evaluate.metrics frechet-infinity: for {features} features it needs {need:,} real and "
        f"as many generated images, of at most {MOST_FEATURES:,}; {remedy}"
    )


def check_counts(settings: EvaluateSettings, real: int, classes: int) -> None:
    """Check, before any image is read, that there are as many as the metrics need.

    Args:
        real: images of the set.
        classes: labels of a conditional generator, or 0.

    Raises:
        UserError: naming the metric, and how many it needs.
    """
    for metric in settings.metrics:
        if metric not in NEEDS:
            # Of the encoder's images: see `distgan.evaluate.encoded`.
            continue
        need = NEEDS[metric]
        if real < need.real:
            raise UserError(
                f"--evaluate.metrics {metric}: needs at least {need.real} real images, and the "
                f"set has {real}; leave it out, or use a larger set"
            )
        if settings.num < need.fake:
            raise UserError(
                f"--evaluate.num {settings.num}: --evaluate.metrics {metric} needs at least "
                f"{need.fake} generated images; use {need.fake} or more"
            )
        if metric != "intra-class":
            continue
        if settings.num < 2 * classes:
            raise UserError(
                f"--evaluate.num {settings.num}: --evaluate.metrics {metric} needs two images of "
                f"each of {classes} classes; use {2 * classes} or more"
            )
        if 2 * classes > MOST_FEATURES:
            raise UserError(
                f"--evaluate.metrics {metric}: takes up to {MOST_FEATURES // 2:,} classes, and "
                f"there are {classes:,}; leave it out"
            )
