"""The metrics that can be asked for, and which way their values are better."""

from __future__ import annotations

METRICS = (
    *("frechet", "kernel", "manifold", "classifier-score", "modes", "sliced", "memorisation"),
    "intra-class",
)
"""Metrics; `distgan.evaluate.measures` has a function for each."""

VALUES = {
    "frechet": "frechet",
    "kernel": "kernel",
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "manifold"),
    "classifier-score": "classifier-score",
    **dict.fromkeys(("class-entropy", "missing-classes", "class-divergence"), "modes"),
    "sliced": "sliced",
    "copied": "memorisation",
    **dict.fromkeys(("intra-frechet", "worst-class-frechet"), "intra-class"),
}
"""Values that say how good a generator is, each with the metric that gives it."""

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
    *("frechet", "kernel", "sliced", "class-divergence", "missing-classes"),
    *("copied", "intra-frechet", "worst-class-frechet"),
)
HIGHER_IS_BETTER = (
    *("precision", "recall", "density", "coverage"),
    *("classifier-score", "class-entropy"),
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
