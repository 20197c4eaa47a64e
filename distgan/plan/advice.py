"""What holds a configuration back, and which settings would help how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.plan.model import Prediction

_WORTH = 1.05
"""A gain below this is not named."""

BOTTLENECKS = {
    "images": "computing",
    "fixed": "what a step costs however few images a worker has",
    "slowed": "exchanging gradients, which takes the processor from computing",
    "exposed": "exchanging gradients",
    "synchronised": "agreeing on batch statistics",
    "stragglers": "waiting for the slowest worker",
}
"""What each term of a `Prediction` is, in words."""


@dataclass(frozen=True)
class Remedy:
    """A change of settings, how many times as fast it is expected to be, and what it costs."""

    change: str
    gain: float
    cost: str = ""


def bottleneck(prediction: Prediction) -> str:
    """The name of the largest term."""
    return max(prediction.terms, key=lambda name: prediction.terms[name])


def remedies(
    config: RunConfig,
    prediction: Prediction,
    again: Callable[[RunConfig], Prediction],
    on_gpu: bool,
) -> list[Remedy]:
    """The settings that would help, the most helpful first.

    Args:
        again: predicts another configuration on the same workers.
    """
    found = []
    for changes, cost in _candidates(config, prediction.workers, on_gpu):
        try:
            changed = override(config, changes)
        except UserError:
            continue  # Settings that contradict one another are no remedy.
        gain = again(changed).images_per_second / prediction.images_per_second
        if gain >= _WORTH:
            text = " ".join(f"--{name} {str(value).lower()}" for name, value in changes.items())
            found.append(Remedy(text, gain, cost))
    return sorted(found, key=lambda remedy: -remedy.gain)


def _candidates(
    config: RunConfig, workers: int, on_gpu: bool
) -> Iterator[tuple[dict[str, Any], str]]:
    if config.precision == "float32" and on_gpu:
        yield {"precision": "bf16"}, "rounds activations"
    if workers > 1 and not config.parallel.compress:
        yield {"parallel.compress": True}, "rounds gradients"
    if workers > 1 and config.parallel.sync_batch_norm:
        yield {"parallel.sync_batch_norm": False}, "results depend on the number of workers"
    yield {"batch": 4 * config.batch}, "trains otherwise: adapt the learning rates"
