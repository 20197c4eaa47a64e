"""The metrics by name, each a function of the statistics of real and generated images.

A metric is one function in `distgan.metrics`, and one here that gives its values names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch

from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.metrics import classes, frechet, intra, kernel, manifold, neighbours, sliced
from distgan.metrics.moments import Moments

_SIGMAS = 1.96
"""Standard deviations either side of the mean that hold 95% of a normal distribution."""


class Value(NamedTuple):
    """A value and, where it can be estimated, its 95% interval."""

    value: float
    low: float | None = None
    high: float | None = None


Measure = Callable[[FeatureStatistics, FeatureStatistics, int], dict[str, Value]]
"""Maps statistics of real and of generated images and a seed to named values."""


def _frechet(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    whole = Moments.merged(real.folds)
    value = frechet.distance(whole, Moments.merged(fake.folds))
    count = len(fake.folds)
    rest = sum(fold.count for fold in fake.folds) - max(fold.count for fold in fake.folds)
    # The jackknife leaves one fold out; a covariance needs two images in the rest.
    if count < 2 or rest < 2:
        return {"frechet": Value(value)}
    # The jackknife over folds: Efron and Stein 1981.
    without = torch.tensor(
        [
            frechet.distance(whole, Moments.merged(fake.folds[:n] + fake.folds[n + 1 :]))
            for n in range(count)
        ],
        dtype=torch.float64,
    )
    spread = (without - without.mean()).square().sum().mul((count - 1) / count).sqrt().item()
    return {"frechet": interval(value, spread)}


def _kernel(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    found = kernel.kernel_distance(real.features, fake.features, subsets=20, seed=seed)
    return {"kernel": interval(found.value, found.error)}


def _manifold(real: FeatureStatistics, fake: FeatureStatistics, seed: int) -> dict[str, Value]:
    found = manifold.manifold(real.features, fake.features)
    return {name: Value(value) for name, value in found._asdict().items()}


def _classifier_score(
    real: FeatureStatistics, fake: FeatureStatistics, seed: int
) -> dict[str, Value]:
    if fake.probabilities is None:
        return {}
    found = classes.classifier_score(fake.probabilities)
    return {"classifier-score": interval(found.value, found.error / 10**0.5)}


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
    return {"intra-frechet": Value(found.mean), "worst-class-frechet": Value(found.worst)}


def interval(value: float, spread: float) -> Value:
    """A value and its 95% interval from its standard deviation."""
    if not math.isfinite(spread):
        return Value(value)
    return Value(value, value - _SIGMAS * spread, value + _SIGMAS * spread)


MEASURES: dict[str, Measure] = {
    "frechet": _frechet,
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
    return sum(fold.count for fold in evidence.folds)


def _with_features(evidence: FeatureStatistics) -> int:
    return len(evidence.features)


_TAKES: dict[str, Callable[[FeatureStatistics], int]] = {
    "frechet": _all,
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

WANT_CLASSES = {"classifier-score", "modes"}
"""Metrics that need an extractor that classifies."""

WANT_LABELS = {"intra-class"}
"""Metrics that need a conditional generator."""
