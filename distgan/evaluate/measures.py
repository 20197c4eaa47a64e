"""The metrics by name, each a function of the statistics of real and generated images.

A metric is one function in `distgan.metrics`, and one here that gives its values names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from torch import Tensor

from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.metrics import (
    classes,
    frechet,
    intra,
    jackknife,
    kernel,
    manifold,
    neighbours,
    sliced,
    student,
)
from distgan.metrics.moments import Moments
from distgan.metrics.student import Spread

LONGEST_WITH_INTERVAL = 512
"""Features of an image. Of more, every distance without a fold takes seconds."""
_SUBSETS = 20


class Value(NamedTuple):
    """A value and, where it can be estimated, its 95% interval."""

    value: float
    low: float | None = None
    high: float | None = None


Measure = Callable[[FeatureStatistics, FeatureStatistics, int], dict[str, Value]]
"""Maps statistics of real and of generated images and a seed to named values."""


def _frechet(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    value = frechet.distance(real.moments, fake.moments)
    return {"frechet": _with_interval(value, frechet.of_folds, real, fake)}


def _frechet_infinity(
    real: FeatureStatistics, fake: FeatureStatistics, seed: int
) -> dict[str, Value]:
    value = frechet.extrapolated(*_folds(real, fake))
    return {"frechet-infinity": _with_interval(value, frechet.extrapolated, real, fake)}


def _with_interval(
    value: float, estimate: frechet.Estimate, real: FeatureStatistics, fake: FeatureStatistics
) -> Value:
    if real.features.shape[1] > LONGEST_WITH_INTERVAL:
        return Value(value)
    sides = _folds(real, fake)
    if not all(map(_can_be_left_out, sides)):
        return Value(value)
    spreads: list[Spread] = list(frechet.spreads(estimate, *sides))
    if estimate is frechet.of_folds:
        spreads = [_of_all(found, side) for found, side in zip(spreads, (real, fake), strict=True)]
    return interval(value, student.total(*spreads))


def reconstruction_frechet(images: FeatureStatistics, made: FeatureStatistics) -> Value:
    """The distance between images and what was made of each, with the interval of pairs."""
    value = frechet.distance(images.moments, made.moments)
    if images.features.shape[1] > LONGEST_WITH_INTERVAL:
        return Value(value)
    sides = [_dealt(side.features, None) for side in (images, made)]
    if not _can_be_left_out(sides[0]):
        return Value(value)
    found = frechet.paired_spread(frechet.of_folds, *sides)
    return interval(value, _of_all(found, images))


def _of_all(found: Spread, side: FeatureStatistics) -> Spread:
    # Of the images with features, which may be some of those that the value is of.
    return found._replace(error=found.error * (len(side.features) / side.moments.count) ** 0.5)


def _folds(real: FeatureStatistics, fake: FeatureStatistics) -> tuple[list[Moments], list[Moments]]:
    # Other reals would have other labels; of a conditional generator's images they are given.
    return _dealt(real.features, None), _dealt(fake.features, fake.labels)


def _dealt(features: Tensor, labels: Tensor | None) -> list[Moments]:
    # Half as many of long features, each with a matrix of d x d; they are left in fifths only.
    folds = jackknife.FOLDS // (2 if features.shape[1] > LONGEST_WITH_INTERVAL else 1)
    dealt = jackknife.deal(len(features), labels) % folds
    found = [Moments.of(features[dealt == fold]) for fold in range(folds)]
    return [fold for fold in found if fold.count]


def _can_be_left_out(folds: list[Moments]) -> bool:
    # A covariance needs two images in the rest.
    counts = [fold.count for fold in folds]
    return len(counts) > 1 and sum(counts) - max(counts) > 1


def _kernel(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    found = kernel.kernel_distance(real.features, fake.features, subsets=_SUBSETS, seed=seed)
    return {"kernel": interval(found.value, Spread(found.error, _SUBSETS - 1))}


def _manifold(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    found = manifold.manifold(real.features, fake.features)
    return {name: Value(value) for name, value in found._asdict().items()}


def _classifier_score(
    real: FeatureStatistics, fake: FeatureStatistics, seed: int
) -> dict[str, Value]:
    if fake.probabilities is None:
        return {}
    found = classes.classifier_score(fake.probabilities, seed=seed)
    spread = Spread(found.error / classes.SPLITS**0.5, classes.SPLITS - 1)
    return {"classifier-score": interval(found.value, spread)}


def _modes(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    if fake.counts is None or real.counts is None:
        return {}
    found = classes.mode_coverage(fake.counts, real.counts)
    return {
        "class-entropy": Value(found.entropy),
        "missing-classes": Value(float(found.missing)),
        "class-divergence": Value(found.divergence),
        "modes-found": Value(float(found.found)),
        "uniform-divergence": Value(found.from_uniform),
    }


def _sliced(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    one, other = (e.pixels.float() / 127.5 - 1 for e in (real, fake))
    return {"sliced": Value(sliced.sliced_wasserstein(one, other, seed=seed))}


def _memorisation(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    assert real.training is not None, "see WANT_TRAINING"
    found = neighbours.memorisation(real.training, real.held_out, fake.features)
    return {"copied": Value(found.copied), "nearness": Value(found.ratio)}


def _intra_class(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    if real.labels is None or fake.labels is None:
        return {}
    found = intra.intra_class(real.features, real.labels, fake.features, fake.labels)
    return {
        "intra-frechet": Value(found.mean),
        "worst-class-frechet": Value(found.worst),
        "classes-compared": Value(float(found.compared)),
    }


def mean_over_images(rows: Tensor) -> Value:
    """The mean of float64 (n,), and its interval by the standard deviation over images."""
    if len(rows) < 2:
        return Value(rows.mean().item())
    error = rows.std().item() / len(rows) ** 0.5
    return interval(rows.mean().item(), Spread(error, len(rows) - 1))


def interval(value: float, spread: Spread) -> Value:
    """A value and its 95% interval, by Student's t; none where nothing says how it may differ."""
    half = spread.half_width
    if not math.isfinite(half) or half == 0:
        return Value(value)
    return Value(value, value - half, value + half)


MEASURES: dict[str, Measure] = {
    "frechet": _frechet,
    "frechet-infinity": _frechet_infinity,
    "kernel": _kernel,
    "manifold": _manifold,
    "classifier-score": _classifier_score,
    "modes": _modes,
    "sliced": _sliced,
    "memorisation": _memorisation,
    "intra-class": _intra_class,
}
"""What ``--metrics`` and ``--evaluate.metrics`` take."""


def _all(evidence: FeatureStatistics) -> int:
    return evidence.moments.count


def _with_features(evidence: FeatureStatistics) -> int:
    return len(evidence.features)


_TAKES: dict[str, Callable[[FeatureStatistics], int]] = {
    "frechet": _all,
    "frechet-infinity": _with_features,
    "kernel": _with_features,
    "manifold": _with_features,
    "classifier-score": _with_features,
    "modes": _all,
    "sliced": lambda evidence: len(evidence.pixels),
    "memorisation": lambda evidence: len(
        evidence.features if evidence.training is None else evidence.training
    ),
    "intra-class": _with_features,
}
"""How many of the images each metric uses."""


def used(metrics: Iterable[str], real: FeatureStatistics, fake: FeatureStatistics) -> str:
    """How many real and generated images the metrics use, as text."""
    return ", ".join(f"{n} {_TAKES[n](real):,} and {_TAKES[n](fake):,}" for n in metrics)


WANT_TRAINING = {"memorisation"}
"""Metrics that need the features of all training images."""

WANT_PIXELS = {"sliced"}
"""Metrics that need the images themselves."""

WANT_CLASSES = {"classifier-score", "modes"}
"""Metrics that need an extractor that classifies."""

WANT_LABELS = {"intra-class"}
"""Metrics that need a conditional generator."""
