"""The metrics that can be asked for, and which way their values are better."""

from __future__ import annotations

IMAGE_METRICS = (
    *("frechet", "kernel", "manifold", "classifier-score", "modes", "sliced", "memorisation"),
    "intra-class",
)
"""Those of generated images; `distgan.evaluate.measures` has a function for each."""

AUTOENCODER_METRICS = (
    *("elbo", "iwae", "bits-per-dimension", "reconstruction", "reconstruction-frechet"),
    *("active-units", "kl-dimensions"),
)
"""Those of a model with an encoder, of held-out images; see `distgan.evaluate.encoded`."""

METRICS = IMAGE_METRICS + AUTOENCODER_METRICS
"""What ``--evaluate.metrics`` may name."""

LOWER_IS_BETTER = (
    *("frechet", "kernel", "sliced", "class-divergence", "missing-classes"),
    *("copied", "intra-frechet", "worst-class-frechet"),
    *("reconstruction-term", "bits-per-dimension", "reconstruction-error"),
    "reconstruction-frechet",
)
HIGHER_IS_BETTER = (
    *("precision", "recall", "density", "coverage"),
    *("classifier-score", "class-entropy"),
    *("elbo", "iwae", "active-units"),
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
