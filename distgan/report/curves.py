"""Curves over images seen, thinned to few enough points for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distgan.report.reading import RunFolder, finite

MOST_POINTS = 1500
"""Points of a curve at most, about the pixels across a screen."""


@dataclass(frozen=True)
class ChartSpec:
    """A chart of some fields of the records."""

    key: str
    title: str
    about: str
    fields: Mapping[str, str]
    """Fields of a record, and what the legend calls them."""
    scale: str = "linear"
    """``linear``, ``log``, or ``share``: from 0 to 1, as a percentage."""


TRAINING = (
    ChartSpec("losses", "Losses", "of both players", {"d_loss": "D", "g_loss": "G"}),
    ChartSpec(
        "elbo",
        "ELBO and loss",
        "in nats an image; the loss weighs the divergence with beta",
        {"elbo": "ELBO", "loss": "loss"},
    ),
    ChartSpec(
        "bound",
        "Parts of the ELBO",
        "in nats an image",
        {"reconstruction": "-E[log p(x|z)]", "kl": "KL(q(z|x) || p(z))"},
    ),
    ChartSpec(
        "beta",
        "Weight of the divergence",
        "its schedule",
        {"beta": "beta"},
    ),
    ChartSpec(
        "error",
        "Squared error of the reconstruction",
        "mean over pixels in [-1, 1], logarithmic",
        {"squared_error": "error"},
        "log",
    ),
    ChartSpec(
        "scale",
        "Learned scale",
        "its logarithm",
        {"log_scale": "log scale"},
    ),
    ChartSpec(
        "beliefs",
        "What D believes",
        "mean D of reals x and of fakes G(z)",
        {"d_real": "D(x)", "d_fake": "D(G(z))"},
    ),
    ChartSpec(
        "gradients",
        "Gradient norms",
        "of the whole network, logarithmic",
        {
            "d_grad_norm": "D",
            "g_grad_norm": "G",
            "e_grad_norm": "encoder",
            "a_grad_norm": "autoencoder",
        },
        "log",
    ),
    ChartSpec(
        "updates",
        "Update-to-weight ratios",
        "norms of update and weights, logarithmic",
        {
            "d_update_ratio": "D",
            "g_update_ratio": "G",
            "e_update_ratio": "encoder",
            "a_update_ratio": "autoencoder",
        },
        "log",
    ),
    ChartSpec(
        "accuracy",
        "Accuracy of D",
        "half is chance, all leaves G nothing to learn from",
        {"d_accuracy": "accuracy"},
        "share",
    ),
    ChartSpec(
        "diversity",
        "Diversity",
        "distance between samples; towards 0 they are all alike",
        {"diversity": "diversity"},
    ),
    ChartSpec(
        "change",
        "Change of inputs",
        "distance of outputs from inputs, over that of real images; 0 is to do nothing",
        {"input_change": "change"},
    ),
    ChartSpec(
        "correlation",
        "Correlation of outputs",
        "with targets, else with inputs; below 0 colours are inverted",
        {"correlation": "correlation"},
    ),
    ChartSpec(
        "cycle",
        "Cycle error",
        "of images translated there and back; with noise in between, how much outputs hide",
        {"cycle_error": "error", "noisy_cycle": "with noise"},
    ),
    ChartSpec(
        "checkerboard",
        "Checkerboard",
        "energy of a pattern of alternating pixels, over that of real images, logarithmic",
        {"checkerboard": "checkerboard"},
        "log",
    ),
    ChartSpec(
        "motion",
        "Motion",
        "differences of frames and distance between motions, over those of real clips; 0 is frozen "
        "or all alike",
        {"motion": "motion", "flicker": "flicker", "motion_variety": "variety"},
    ),
    ChartSpec(
        "order",
        "Order of frames and drift",
        "disorder: 0 as in real clips, 1 any order; drift from first to last frames, of the data's "
        "contrast",
        {"disorder": "disorder", "drift": "drift"},
    ),
    ChartSpec(
        "augment",
        "Probability of augmentation",
        "that ADA chose",
        {"augment_p": "p"},
        "share",
    ),
)

SPEED = (
    ChartSpec("speed", "Throughput", "images a second", {"images_per_second": "images/s"}),
    ChartSpec("wait", "Data wait", "share of the time", {"data_wait": "wait"}, "share"),
    ChartSpec("traffic", "Traffic", "bytes sent for each image", {"bytes_per_image": "bytes"}),
)


@dataclass(frozen=True)
class Series:
    """One line of a chart; None leaves a gap."""

    run: int
    name: str
    color: int
    """Index into the page's palette."""
    dash: str
    """``solid``, ``dash`` or ``dot``."""
    x: list[float]
    y: list[float | None]
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)
    """A band about the line, as long as ``y``, or empty."""
    shape: str = "linear"
    """``hv`` for steps."""


@dataclass(frozen=True)
class Chart:
    """A chart with its lines, ready for the page."""

    key: str
    title: str
    about: str
    scale: str
    series: list[Series]
    health: bool = False
    """Whether states of health are drawn in its background."""


def charts(runs: Sequence[RunFolder], specs: Sequence[ChartSpec], health: bool) -> list[Chart]:
    """The charts for which any run has a number; some are left out if all values are zero."""
    found = []
    for spec in specs:
        series = [s for number in range(len(runs)) for s in _series(runs, number, spec)]
        if any(y for one in series for y in one.y) or (series and spec.key not in _OFTEN_ZERO):
            found.append(Chart(spec.key, spec.title, spec.about, spec.scale, series, health))
    return found


_OFTEN_ZERO = ("traffic", "augment")
"""Charts left out if all values are zero: for instance a single worker sends nothing."""


def _series(runs: Sequence[RunFolder], number: int, spec: ChartSpec) -> list[Series]:
    one, alone = runs[number], len(runs) == 1
    found = []
    for place, (name, label) in enumerate(spec.fields.items()):
        x = [float(record["images"]) for record in one.records]
        y = [finite(record.get(name)) for record in one.records]
        if spec.scale == "log":
            y = [value if value else None for value in y]
        if all(value is None for value in y):
            continue
        color, dash = (place, 0) if alone else (number, place)
        text = label if alone else one.name
        if not alone and len(spec.fields) > 1:
            text = f"{one.name} {label}"
        found.append(Series(number, text, color, DASHES[dash % len(DASHES)], *thin(x, y)))
    return found


DASHES = ("solid", "dash", "dot")


def thin(
    x: Sequence[float], y: Sequence[float | None], most: int = MOST_POINTS
) -> tuple[list[float], list[float | None]]:
    """Thin a curve to at most ``most`` points: the minimum and maximum of each of equal parts.

    So extreme values are kept. A gap within a part becomes one point without a value; the first
    and the last point are always kept.
    """
    if len(x) <= most:
        return list(x), [_rounded(value) for value in y]
    parts = max(1, (most - 2) // 3)
    kept = {0, len(x) - 1}
    for part in range(parts):
        inside = range(part * len(x) // parts, (part + 1) * len(x) // parts)
        known = [n for n in inside if y[n] is not None]
        kept.update(n for n in inside[:1] if not known)
        kept.update([n for n in inside if y[n] is None][:1])
        if known:
            kept.add(min(known, key=lambda n: y[n] or 0.0))
            kept.add(max(known, key=lambda n: y[n] or 0.0))
    chosen = sorted(kept)
    return [x[n] for n in chosen], [_rounded(y[n]) for n in chosen]


def _rounded(value: Any) -> float | None:
    # Five digits are as many as a chart shows; more would make the page larger.
    return None if value is None else float(f"{value:.5g}")
