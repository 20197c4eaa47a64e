"""From signs to a named state of health, with the evidence and a remedy: pure functions.

The states are those of the literature: gradients that vanish because D is certain (Arjovsky and
Bottou 2017), modes that collapse (Goodfellow 2016, section 5.1.1), updates that blow up. The
thresholds were set between the values of runs that learn and of runs made to fail.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

HEALTHY = "healthy"


class Signs(NamedTuple):
    """What one record knows; means since the record before, or of its last step."""

    images: int
    d_accuracy: float
    """Share of pairs that D ranks rightly, 0 to 1."""
    d_real: float
    """Mean D(x), 0 to 1."""
    d_fake: float
    """Mean D(G(z)), 0 to 1."""
    d_loss: float
    g_loss: float
    d_grad_norm: float
    g_grad_norm: float
    d_update_ratio: float
    """Norm of D's last update over that of its weights."""
    g_update_ratio: float
    d_weight_growth: float
    """Norm of D's weights over that at the start of the run."""
    g_weight_growth: float
    g_rate: float
    """G's learning rate over the highest that its schedule reaches, 0 to 1."""
    probability: float
    """1 where D(x) is meant as a probability, as the loss decides; else 0."""
    diversity: float
    """Distance between samples over that between real images."""
    class_entropy: float = 0.0
    """Of the classes that a classifier sees in samples: from near 0, all of one class, to 1, all
    alike often. 0 where there is no classifier, or none of them was classified yet."""


class Verdict(NamedTuple):
    """A state of health; ``evidence`` and ``remedy`` are empty for a healthy one."""

    state: str
    evidence: str = ""
    remedy: str = ""


def suspect(past: Sequence[Signs], now: Signs) -> Verdict:
    """What the newest signs suggest, the gravest first; whether it lasts is for `HealthTracker`.

    Args:
        past: earlier signs, oldest first.
    """
    for rule in (_non_finite, _exploding, _collapse, _stalled, _discriminator, _generator):
        for verdict in rule(past, now):
            return verdict
    return Verdict(HEALTHY)


def _non_finite(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    wrong = [name for name, value in now._asdict().items() if not math.isfinite(value)]
    if wrong:
        yield Verdict(
            "non-finite",
            f"{', '.join(wrong)} not finite",
            "lower both learning rates, or set --generator.clip_norm and "
            "--discriminator.clip_norm to 1",
        )


LARGEST_UPDATE = 0.1
"""Runs that learn change their weights by 0.0001 to 0.02 of their norm in a step."""
GRADIENT_JUMP = 1_000.0
"""Times its median so far; runs that learn stay within some tens of it."""


LARGEST_GROWTH = 100.0
"""Runs that learn stay within ten."""


def _exploding(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    for player, option in (("d", "discriminator"), ("g", "generator")):
        ratio = getattr(now, f"{player}_update_ratio")
        if ratio > LARGEST_UPDATE:
            yield Verdict(
                "exploding",
                f"an update of the {option} changes its weights by {ratio:.2g} of their norm",
                f"lower --{option}.optimizer.lr tenfold",
            )
        growth = getattr(now, f"{player}_weight_growth")
        if growth > LARGEST_GROWTH:
            yield Verdict(
                "exploding",
                f"the weights of the {option} are {growth:.2g} times as large as at the start",
                f"start anew with a tenth of --{option}.optimizer.lr, or less",
            )
        norms = [getattr(signs, f"{player}_grad_norm") for signs in past]
        norm = getattr(now, f"{player}_grad_norm")
        if len(norms) >= 5 and norm > GRADIENT_JUMP * max(statistics.median(norms), 1e-12):
            yield Verdict(
                "exploding",
                f"the {option}'s gradient is {norm:.2g}, its median so far "
                f"{statistics.median(norms):.2g}",
                f"lower --{option}.optimizer.lr, or set --{option}.clip_norm",
            )


COLLAPSED, COLLAPSING = 0.05, 0.4
"""Diversity; that of samples which look as varied as the data is about 1."""
FEW_CLASSES = 0.4
"""Times the highest entropy of classes so far."""


def _collapse(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    best = max((signs.diversity for signs in past), default=0.0)
    evidence = f"samples are {now.diversity:.2g} times as far apart as real images"
    if now.diversity < COLLAPSED:
        yield Verdict(
            "collapsed",
            f"{evidence}: nearly all alike",
            "go back to an earlier checkpoint with --discriminator.penalty.r1 1 or more, "
            "or the relativistic loss; check that z differs between samples",
        )
    if now.diversity < COLLAPSING * min(best, 1.0):
        yield Verdict(
            "collapsing",
            f"{evidence}, and were {best:.2g} times",
            _AGAINST_COLLAPSE,
        )
    most = max((signs.class_entropy for signs in past), default=0.0)
    if 0 < now.class_entropy < FEW_CLASSES * most:
        yield Verdict(
            "collapsing",
            f"samples are of few classes: their entropy is {now.class_entropy:.2g} of an even "
            f"mixture's, and was {most:.2g}",
            _AGAINST_COLLAPSE,
        )


_AGAINST_COLLAPSE = (
    "raise --discriminator.penalty.r1, lower --generator.optimizer.lr, or use the "
    "relativistic loss with r1 and r2"
)


SMALLEST_UPDATE = 1e-6
"""At the highest learning rate of the schedule; runs that learn are a hundred times above."""


def _stalled(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    # Where D wins and leaves no gradient, that is the illness, and this a symptom.
    symptom = _knows(now) and now.g_grad_norm < VANISHED
    if now.g_rate > 0 and now.g_update_ratio / now.g_rate < SMALLEST_UPDATE and not symptom:
        yield Verdict(
            "stalled",
            f"an update of the generator changes its weights by {now.g_update_ratio:.1g} of their "
            f"norm; its gradient is {now.g_grad_norm:.2g}",
            "raise --generator.optimizer.lr; where the gradient is zero, use another --loss",
        )


CERTAIN, NOTHING_BELIEVED = 0.99, 0.006
"""Pairs ranked rightly, and D(G(z)), beyond which D knows every fake. A DCGAN that learns may
rank all pairs rightly for long, but does not go under 0.01."""
VANISHED = 1e-4
"""Of G's gradient, beside its median so far."""


def _knows(now: Signs) -> bool:
    return now.d_accuracy > CERTAIN and (now.d_fake < NOTHING_BELIEVED or not now.probability)


def _vanished(past: Sequence[Signs], now: Signs) -> bool:
    usual = statistics.median([signs.g_grad_norm for signs in past]) if past else 0.0
    return now.g_grad_norm < VANISHED * min(usual, 1.0)


def _discriminator(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    if _knows(now) and (now.probability or _vanished(past, now)):
        yield Verdict(
            "discriminator wins",
            f"D ranks {now.d_accuracy:.2%} of pairs rightly and D(G(z)) is {now.d_fake:.2g}, so "
            f"that G's gradient ({now.g_grad_norm:.2g}) teaches little",
            "use --loss non-saturating or relativistic, fewer --discriminator.updates, a lower "
            "--discriminator.optimizer.lr, or raise --discriminator.penalty.r1",
        )


def _generator(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    if now.d_accuracy < 0.4 and now.d_fake > now.d_real:
        yield Verdict(
            "generator wins",
            f"D ranks {now.d_accuracy:.0%} of pairs rightly, fewer than by guessing; D(G(z)) is "
            f"{now.d_fake:.2g} and D(x) {now.d_real:.2g}",
            "raise --discriminator.optimizer.lr or --discriminator.updates, or a penalty on D "
            "is too strong",
        )


class HealthTracker:
    """Names a state once it has lasted, so that one odd record is no alarm.

    Args:
        patience: records in a row; what is not finite is named at once.
        memory: records that are remembered.
    """

    def __init__(self, patience: int, memory: int = 50) -> None:
        self._patience, self._memory = patience, memory
        self._past: list[Signs] = []
        self._suspected: list[str] = []

    def observe(self, now: Signs) -> Verdict:
        """Take in the next signs and say what they come to."""
        verdict = suspect(self._past, now)
        if verdict.state != "non-finite":
            self._past = [*self._past, now][-self._memory :]
        self._suspected = [*self._suspected, verdict.state][-self._patience :]
        lasted = len(self._suspected) == self._patience and HEALTHY not in self._suspected
        return verdict if lasted or verdict.state == "non-finite" else Verdict(HEALTHY)

    @property
    def sound(self) -> bool:
        """Whether the last signs were suspect of nothing."""
        return self._suspected[-1:] in ([], [HEALTHY])

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"past": [list(signs) for signs in self._past], "suspected": list(self._suspected)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._past = [Signs(*signs) for signs in state["past"]]
        self._suspected = list(state["suspected"])
