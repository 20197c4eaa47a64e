"""The metrics that can be asked for, and which way their values are better."""

from __future__ import annotations

IMAGE_METRICS = (
    *("frechet", "frechet-infinity", "kernel", "manifold", "classifier-score", "modes", "sliced"),
    *("memorisation", "intra-class"),
)
"""Those of generated images; `distgan.evaluate.measures` has a function for each."""

AUTOENCODER_METRICS = (
    *("elbo", "iwae", "bits-per-dimension", "reconstruction", "reconstruction-frechet"),
    *("active-units", "kl-dimensions"),
)
"""Those of a model with an encoder, of held-out images; see `distgan.evaluate.encoded`."""

TRANSLATION_METRICS = ("l1", "psnr", "ssim", "feature-distance", "cycle", "label-score")
"""Those of images that were translated, of held-out ones; see `distgan.evaluate.translated`."""

CLIP_METRICS = ("frame-frechet", "clip-frechet", "motion", "digits-kept")
"""Those of generated clips; see `distgan.evaluate.clips`."""

METRICS = IMAGE_METRICS + AUTOENCODER_METRICS + TRANSLATION_METRICS + CLIP_METRICS
"""What ``--evaluate.metrics`` may name."""


VALUES = {
    "frechet": "frechet",
    "frechet-infinity": "frechet-infinity",
    "kernel": "kernel",
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "manifold"),
    "classifier-score": "classifier-score",
    **dict.fromkeys(("class-entropy", "missing-classes", "class-divergence"), "modes"),
    **dict.fromkeys(("modes-found", "uniform-divergence"), "modes"),
    "sliced": "sliced",
    "copied": "memorisation",
    **dict.fromkeys(("intra-frechet", "worst-class-frechet"), "intra-class"),
    **dict.fromkeys(("elbo", "reconstruction-term"), "elbo"),
    "iwae": "iwae",
    "bits-per-dimension": "bits-per-dimension",
    "reconstruction-error": "reconstruction",
    "reconstruction-frechet": "reconstruction-frechet",
    "active-units": "active-units",
    **{name: name for name in ("l1", "psnr", "ssim", "feature-distance", "label-score")},
    "cycle-error": "cycle",
    **{name: name for name in ("frame-frechet", "clip-frechet", "digits-kept")},
    **dict.fromkeys(("difference-distance", "speed-distance"), "motion"),
}
"""Values that say how good a model is, each with the metric that gives it."""

THROUGH_INCEPTION = {"fid": "frechet", "kid": "kernel"}
"""Names of a value that say the extractor too."""

NAMES = tuple(dict.fromkeys((*METRICS, *THROUGH_INCEPTION, *VALUES)))
"""What ``--metrics``, ``--evaluate.metrics`` and ``--metric`` take; a search wants one value."""


def metric_of(name: str) -> str:
    """The metric that gives what one of `NAMES` names."""
    value = THROUGH_INCEPTION.get(name, name)
    return VALUES.get(value, value)


def values_of(metric: str) -> tuple[str, ...]:
    """The values of a metric that a search may go by."""
    return tuple(value for value, of in VALUES.items() if of == metric)


LOWER_IS_BETTER = (
    *("frechet", "frechet-infinity", "kernel", "sliced", "class-divergence", "missing-classes"),
    "uniform-divergence",
    *("copied", "intra-frechet", "worst-class-frechet"),
    *("reconstruction-term", "bits-per-dimension", "reconstruction-error"),
    "reconstruction-frechet",
    *("l1", "feature-distance", "cycle-error"),
    *("frame-frechet", "clip-frechet", "difference-distance", "speed-distance"),
)
HIGHER_IS_BETTER = (
    *("precision", "recall", "density", "coverage"),
    *("classifier-score", "class-entropy", "modes-found"),
    *("elbo", "iwae", "active-units"),
    *("psnr", "ssim", "label-score", "digits-kept"),
)


def better(name: str) -> str:
    """Which values of a metric are better: ``lower``, ``higher``, or empty where neither is.

    Args:
        name: of a value of an evaluation.
    """
    if name in LOWER_IS_BETTER:
        return "lower"
    return "higher" if name in HIGHER_IS_BETTER else ""


def cost(name: str, value: float) -> float:
    """The value, negated where higher is better, so that the best has the lowest cost."""
    return -value if name in HIGHER_IS_BETTER else value
