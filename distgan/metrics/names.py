"""The metrics that can be asked for, and which way their values are better."""

from __future__ import annotations

METRICS = (
    *("frechet", "kernel", "manifold", "classifier-score", "modes", "sliced", "memorisation"),
    "intra-class",
)
"""What ``--evaluate.metrics`` may name; `distgan.evaluate.measures` has a function for each."""

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
