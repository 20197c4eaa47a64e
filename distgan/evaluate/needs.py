"""How many images each metric needs; fewer have no value, or one that is no number."""

from __future__ import annotations

from typing import NamedTuple

from distgan.config.evaluate import EvaluateSettings
from distgan.errors import UserError
from distgan.evaluate.gather import MOST_FEATURES
from distgan.metrics.manifold import NEIGHBOURS


class Need(NamedTuple):
    """The fewest images of either side."""

    real: int
    fake: int


NEEDS = {
    # A covariance takes two, and so does an unbiased estimate.
    "frechet": Need(2, 2),
    "kernel": Need(2, 2),
    # More than neighbours are looked at.
    "manifold": Need(NEIGHBOURS + 1, NEIGHBOURS + 1),
    # One in each of ten splits.
    "classifier-score": Need(1, 10),
    "modes": Need(1, 1),
    "sliced": Need(2, 2),
    # Every training image is compared with its nearest other.
    "memorisation": Need(2, 1),
    # Of some class.
    "intra-class": Need(2, 2),
}
"""By the names of `distgan.evaluate.measures.MEASURES`."""


def check_counts(settings: EvaluateSettings, real: int, classes: int) -> None:
    """See that there are as many images as the metrics need, before any is looked at.

    Args:
        real: images of the set.
        classes: labels of a conditional generator, or 0.

    Raises:
        UserError: naming the metric, and how many it needs.
    """
    for metric in settings.metrics:
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
