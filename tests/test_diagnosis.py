"""Every state of health from its signs, and no alarm from one odd record."""

from __future__ import annotations

import math

import pytest

from distgan.health.diagnosis import (
    ADVERSARIAL,
    HEALTHY,
    HealthTracker,
    collapse,
    exploding,
    non_finite,
    suspect,
)

RULES = (
    *(non_finite, exploding("d", "discriminator"), exploding("g", "generator"), collapse),
    *ADVERSARIAL,
)
GOOD: dict[str, float] = {
    "images": 10_000,
    "d_accuracy": 0.8,
    "d_real": 0.6,
    "d_fake": 0.4,
    "d_loss": 1.2,
    "g_loss": 0.9,
    "d_grad_norm": 3.0,
    "g_grad_norm": 2.0,
    "d_update_ratio": 0.003,
    "g_update_ratio": 0.003,
    "d_weight_growth": 1.5,
    "g_weight_growth": 1.5,
    "g_rate": 1.0,
    "probability": 1.0,
    "diversity": 0.9,
    "class_entropy": 0.95,
}
PAST = [GOOD] * 10

ILL = {
    "a loss": ("non-finite", {"g_loss": math.nan}),
    "a gradient": ("non-finite", {"d_grad_norm": math.inf}),
    "an update": ("exploding", {"g_update_ratio": 0.5}),
    "weights": ("exploding", {"d_weight_growth": 1e4}),
    "a jump": ("exploding", {"d_grad_norm": 4_000.0}),
    "alike": ("collapsed", {"diversity": 0.01}),
    "more alike": ("collapsing", {"diversity": 0.3}),
    "one class": ("collapsing", {"class_entropy": 1e-3}),
    "certain": ("discriminator wins", {"d_accuracy": 1.0, "d_fake": 0.001}),
    "a critic": (
        "discriminator wins",
        {"d_accuracy": 1.0, "probability": 0.0, "g_grad_norm": 1e-6},
    ),
    "no gradient": (
        "discriminator wins",
        {"d_accuracy": 1.0, "d_fake": 1e-6, "g_grad_norm": 1e-7, "g_update_ratio": 1e-7},
    ),
    "fooled": ("generator wins", {"d_accuracy": 0.1, "d_fake": 0.99}),
    "slow": ("stalled", {"g_update_ratio": 1e-9}),
    "slow, and a certain D": (
        "stalled",
        {"g_update_ratio": 1e-9, "d_accuracy": 1.0, "d_fake": 1e-6, "g_grad_norm": 20.0},
    ),
}


@pytest.mark.parametrize(("state", "changes"), ILL.values(), ids=ILL.keys())
def test_a_state_is_named_with_evidence_and_remedy(state: str, changes: dict[str, float]) -> None:
    assert suspect(PAST, GOOD, RULES).state == HEALTHY
    found = suspect(PAST, {**GOOD, **changes}, RULES)
    assert found.state == state
    assert found.evidence
    assert found.remedy


@pytest.mark.parametrize(
    "changes",
    [
        # A schedule that ends at nothing is no stall, a critic that ranks well no victory,
        # and a set that was never varied has not collapsed.
        {"g_rate": 0.0, "g_update_ratio": 0.0},
        {"g_rate": 0.01, "g_update_ratio": 3e-5},
        {"probability": 0.0, "d_accuracy": 1.0, "d_fake": 1e-9},
        {"d_accuracy": 1.0, "d_fake": 0.1},
        {"d_grad_norm": 300.0},
        {"diversity": 1.5},
        {"class_entropy": 0.5},
        {"class_entropy": 0.0},
    ],
)
def test_what_runs_that_learn_pass_through_is_no_illness(changes: dict[str, float]) -> None:
    assert suspect(PAST, {**GOOD, **changes}, RULES).state == HEALTHY


def test_samples_that_were_never_varied_are_not_collapsing() -> None:
    low = {**GOOD, "diversity": 0.2, "class_entropy": 0.1}
    assert suspect([low] * 5, low, RULES).state == HEALTHY


def test_a_state_has_to_last() -> None:
    watch, ill = HealthTracker(RULES, patience=3), {**GOOD, "diversity": 0.3}
    states = [watch.observe(s).state for s in (GOOD, ill, ill, GOOD, ill, ill, ill, GOOD)]
    assert states == [HEALTHY] * 6 + ["collapsing", HEALTHY]
    assert watch.healthy
    assert watch.observe({**GOOD, "d_loss": math.nan}).state == "non-finite"
    assert not watch.healthy


def test_a_watch_goes_on_from_its_state() -> None:
    ill = {**GOOD, "diversity": 0.3}
    one, other = HealthTracker(RULES, patience=3), HealthTracker(RULES, patience=3)
    for signs in (GOOD, ill, ill):
        one.observe(signs)
    other.load_state_dict(one.state_dict())
    assert other.observe(ill) == one.observe(ill)
    assert other.observe(ill).state == "collapsing"
