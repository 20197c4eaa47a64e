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
    "kernel": Need(2, 2),
    # Each image and its k nearest neighbours.
    "manifold": Need(NEIGHBOURS + 1, NEIGHBOURS + 1),
    # One in each of ten splits.
    "classifier-score": Need(1, 10),
    "modes": Need(1, 1),
    "sliced": Need(2, 2),
    # Each training image is compared with its nearest neighbour among the others.
    "memorisation": Need(2, 1),
    # In at least one class.
    "intra-class": Need(2, 2),
}
"""By the names of `distgan.evaluate.measures.MEASURES`."""


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
