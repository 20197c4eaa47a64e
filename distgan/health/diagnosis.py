"""From signs to a named state of health, with the evidence and a remedy: pure functions.

The states are those of the literature: gradients that vanish because D is certain (Arjovsky and
Bottou 2017), modes that collapse (Goodfellow 2016, section 5.1.1), updates that blow up. The
thresholds were set between the values of runs that learn and of runs made to fail.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

HEALTHY = "healthy"


Signs = Mapping[str, float]
"""What one record knows by name: means since the record before, or values of its last step.

``images``, seen so far; ``P_grad_norm``, ``P_update_ratio`` (norm of the last update over that of
the weights) and ``P_weight_growth`` (norm of the weights over that at the start of the run) of
each network, P its prefix; ``diversity``, the distance between samples over that between real
images; ``class_entropy`` of the classes that a classifier sees in samples, from near 0, all of one
class, to 1, all alike often, and 0 where that is not known; and what the family adds.
"""

Rule = Callable[[Sequence[Signs], Signs], Iterator["Verdict"]]
"""Of earlier signs, oldest first, and the newest: what they suggest, the gravest first."""


class Verdict(NamedTuple):
    """A state of health; ``evidence`` and ``remedy`` are empty for a healthy one."""

    state: str
    evidence: str = ""
    remedy: str = ""


def suspect(past: Sequence[Signs], now: Signs, rules: Sequence[Rule]) -> Verdict:
    """What the newest signs suggest; whether it lasts is for `HealthTracker`.

    Args:
        past: earlier signs, oldest first.
        rules: the gravest first.
    """
    for rule in rules:
        for verdict in rule(past, now):
            return verdict
    return Verdict(HEALTHY)


def non_finite(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Any sign that is no number."""
    wrong = [name for name, value in now.items() if not math.isfinite(value)]
    if wrong:
        yield Verdict(
            "non-finite",
            f"{', '.join(wrong)} not finite",
            "lower both learning rates, or set --generator.clip_norm and "
            "--discriminator.clip_norm to 1",
        )


def advising(rule: Rule, remedies: Mapping[str, str]) -> Rule:
    """A rule with other remedies, by the state that it names; the others stay."""

    def advised(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        for verdict in rule(past, now):
            yield verdict._replace(remedy=remedies.get(verdict.state, verdict.remedy))

    return advised


def of_names(rule: Rule, names: Mapping[str, str]) -> Rule:
    """A rule of signs that have other names, by the names that the rule knows."""

    def renamed(signs: Signs) -> dict[str, float]:
        return {**signs, **{known: signs[name] for known, name in names.items()}}

    def judged(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        yield from rule([renamed(signs) for signs in past], renamed(now))

    return judged


LARGEST_UPDATE = 0.1
"""Runs that learn change their weights by 0.0001 to 0.02 of their norm in a step."""
GRADIENT_JUMP = 1_000.0
"""Times its median so far; runs that learn stay within some tens of it."""


LARGEST_GROWTH = 100.0
"""Runs that learn stay within ten."""


def exploding(prefix: str, role: str) -> Rule:
    """The rule of a network whose updates or weights blow up.

    Args:
        prefix: of its signs.
        role: its name in settings.
    """

    def rule(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
        ratio, growth = now[f"{prefix}_update_ratio"], now[f"{prefix}_weight_growth"]
        if ratio > LARGEST_UPDATE:
            yield Verdict(
                "exploding",
                f"an update of the {role} changes its weights by {ratio:.2g} of their norm",
                f"lower --{role}.optimizer.lr tenfold",
            )
        if growth > LARGEST_GROWTH:
            yield Verdict(
                "exploding",
                f"the weights of the {role} are {growth:.2g} times as large as at the start",
                f"start anew with a tenth of --{role}.optimizer.lr, or less",
            )
        norms = [signs[f"{prefix}_grad_norm"] for signs in past]
        norm = now[f"{prefix}_grad_norm"]
        if len(norms) >= 5 and norm > GRADIENT_JUMP * max(statistics.median(norms), 1e-12):
            yield Verdict(
                "exploding",
                f"the {role}'s gradient is {norm:.2g}, its median so far "
                f"{statistics.median(norms):.2g}",
                f"lower --{role}.optimizer.lr, or set --{role}.clip_norm",
            )

    return rule


COLLAPSED, COLLAPSING = 0.05, 0.4
"""Diversity; that of samples which look as varied as the data is about 1."""
FEW_CLASSES = 0.4
"""Times the highest entropy of classes so far."""


def collapse(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """Samples that lie closer together than real images, or are of fewer classes."""
    best = max((signs["diversity"] for signs in past), default=0.0)
    evidence = f"samples are {now['diversity']:.2g} times as far apart as real images"
    if now["diversity"] < COLLAPSED:
        yield Verdict(
            "collapsed",
            f"{evidence}: nearly all alike",
            "go back to an earlier checkpoint with --discriminator.penalty.r1 1 or more, "
            "or the relativistic loss; check that z differs between samples",
        )
    if now["diversity"] < COLLAPSING * min(best, 1.0):
        yield Verdict(
            "collapsing",
            f"{evidence}, and were {best:.2g} times",
            _AGAINST_COLLAPSE,
        )
    most = max((signs["class_entropy"] for signs in past), default=0.0)
    if 0 < now["class_entropy"] < FEW_CLASSES * most:
        yield Verdict(
            "collapsing",
            f"samples are of few classes: their entropy is {now['class_entropy']:.2g} of an even "
            f"mixture's, and was {most:.2g}",
            _AGAINST_COLLAPSE,
        )


_AGAINST_COLLAPSE = (
    "raise --discriminator.penalty.r1, lower --generator.optimizer.lr, or use the "
    "relativistic loss with r1 and r2"
)


SMALLEST_UPDATE = 1e-6
"""At the highest learning rate of the schedule; runs that learn are a hundred times above."""


def stalled(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """A generator that no longer changes."""
    # Where D wins and leaves no gradient, that is the illness, and this a symptom.
    symptom = _knows(now) and now["g_grad_norm"] < VANISHED
    if (
        now["g_rate"] > 0
        and now["g_update_ratio"] / now["g_rate"] < SMALLEST_UPDATE
        and not symptom
    ):
        yield Verdict(
            "stalled",
            f"an update of the generator changes its weights by {now['g_update_ratio']:.1g} of "
            f"their norm; its gradient is {now['g_grad_norm']:.2g}",
            "raise --generator.optimizer.lr; where the gradient is zero, use another --loss",
        )


CERTAIN, NOTHING_BELIEVED = 0.99, 0.006
"""Pairs ranked rightly, and D(G(z)), beyond which D knows every fake. A DCGAN that learns may
rank all pairs rightly for long, but does not go under 0.01."""
VANISHED = 1e-4
"""Of G's gradient, beside its median so far."""


def _knows(now: Signs) -> bool:
    return now["d_accuracy"] > CERTAIN and (
        now["d_fake"] < NOTHING_BELIEVED or not now["probability"]
    )


def _vanished(past: Sequence[Signs], now: Signs) -> bool:
    usual = statistics.median([signs["g_grad_norm"] for signs in past]) if past else 0.0
    return now["g_grad_norm"] < VANISHED * min(usual, 1.0)


def discriminator_wins(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """D tells all fakes apart, which leaves G without a gradient."""
    if _knows(now) and (now["probability"] or _vanished(past, now)):
        yield Verdict(
            "discriminator wins",
            f"D ranks {now['d_accuracy']:.2%} of pairs rightly and D(G(z)) is "
            f"{now['d_fake']:.2g}, so that G's gradient ({now['g_grad_norm']:.2g}) teaches little",
            "use --loss non-saturating or relativistic, fewer --discriminator.updates, a lower "
            "--discriminator.optimizer.lr, or raise --discriminator.penalty.r1",
        )


def generator_wins(past: Sequence[Signs], now: Signs) -> Iterator[Verdict]:
    """D ranks fewer pairs rightly than by guessing."""
    if now["d_accuracy"] < 0.4 and now["d_fake"] > now["d_real"]:
        yield Verdict(
            "generator wins",
            f"D ranks {now['d_accuracy']:.0%} of pairs rightly, fewer than by guessing; D(G(z)) is "
            f"{now['d_fake']:.2g} and D(x) {now['d_real']:.2g}",
            "raise --discriminator.optimizer.lr or --discriminator.updates, or a penalty on D "
            "is too strong",
        )


ADVERSARIAL = (stalled, discriminator_wins, generator_wins)
"""Rules of a generator ``g`` and a discriminator ``d``, which need the means ``d_accuracy`` (the
share of pairs that D ranks rightly, 0 to 1), ``d_real`` and ``d_fake`` (mean D(x) and D(G(z)), 0
to 1), and the values ``g_rate`` (G's learning rate over the highest of its schedule, 0 to 1) and
``probability`` (1 where D(x) is meant as a probability, as the loss decides; else 0)."""


class HealthTracker:
    """Names a state once it has lasted, so that one odd record is no alarm.

    Args:
        rules: the gravest first.
        patience: records in a row; what is not finite is named at once.
        memory: records that are remembered.
    """

    def __init__(self, rules: Sequence[Rule], patience: int, memory: int = 50) -> None:
        self._rules, self._patience, self._memory = rules, patience, memory
        self._past: list[Signs] = []
        self._suspected: list[str] = []

    def observe(self, now: Signs) -> Verdict:
        """Take in the next signs and say what they come to."""
        verdict = suspect(self._past, now, self._rules)
        if verdict.state != "non-finite":
            self._past = [*self._past, now][-self._memory :]
        self._suspected = [*self._suspected, verdict.state][-self._patience :]
        lasted = len(self._suspected) == self._patience and HEALTHY not in self._suspected
        return verdict if lasted or verdict.state == "non-finite" else Verdict(HEALTHY)

    @property
    def healthy(self) -> bool:
        """Whether the last signs were suspect of nothing."""
        return self._suspected[-1:] in ([], [HEALTHY])

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"past": [dict(signs) for signs in self._past], "suspected": list(self._suspected)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self._past = [dict(signs) for signs in state["past"]]
        self._suspected = list(state["suspected"])
