"""What configurations of families with a discriminator have in common."""

from __future__ import annotations

from collections.abc import Iterator

from distgan.augment import ADASettings, Augmentation
from distgan.config.health import HealthSettings
from distgan.config.run import RunConfig
from distgan.config.settings import nearest
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import GRADIENT_PENALTIES, PenaltySettings


def known_loss(name: str) -> str:
    """The name of an adversarial loss.

    Raises:
        ValueError: where there is none of that name.
    """
    if name not in LOSSES:
        near = nearest(name[:80], list(LOSSES))
        raise ValueError(f"no such loss{near}; have {', '.join(LOSSES)}")
    return name


def contradictions_of_penalties(
    config: RunConfig, penalty: PenaltySettings, role: str = "discriminator"
) -> Iterator[str]:
    """What of a compiled discriminator contradicts penalties on its gradient, with the remedy."""
    if config.compile == "off":
        return
    health = config.health
    if health.action == "rollback" and health.change != "halve-lr":
        yield (
            f"--compile {config.compile}: a compiled network has no second derivative, which "
            f"R1 needs, added by --health.change {health.change} after a rollback; use "
            "halve-lr"
        )
    penalties = [name for name in GRADIENT_PENALTIES if penalty.uses(name)]
    if penalties:
        yield (
            f"--compile {config.compile}: a compiled network has no second derivative, which "
            f"--{role}.penalty.{penalties[0]} needs; leave one of them out"
        )


def idle_of_discriminator(
    penalty: PenaltySettings,
    augment: Augmentation,
    health: HealthSettings,
    role: str = "discriminator",
) -> Iterator[tuple[str, str]]:
    """Settings of penalties and augmentation that have no effect, and why."""
    r1_may_come = health.action == "rollback" and health.change != "halve-lr"
    if not r1_may_come and not any(map(penalty.uses, GRADIENT_PENALTIES)):
        reason = f"without a penalty on gradients, such as --{role}.penalty.r1 1"
        yield f"{role}.penalty.every", reason
    if not r1_may_come and not (penalty.uses("r1") or penalty.uses("r2")):
        reason = f"without --{role}.penalty.r1 or --{role}.penalty.r2"
        yield f"{role}.penalty.at", reason
    elif not augment.numbers:
        yield f"{role}.penalty.at", "without an augmentation"
    if not penalty.uses("lecam"):
        yield f"{role}.penalty.lecam_half_life", f"without --{role}.penalty.lecam"
    if isinstance(augment, ADASettings) and augment.probability is not None:
        for name in ("target", "interval", "speed"):
            reason = f"with --{role}.augment.probability, which it would adapt"
            yield f"{role}.augment.{name}", reason
