"""What a population does after a rung: who takes over whose state, and goes on with what.

Follows from what is recorded of the members alone, so that each of them decides for itself, and
one that was killed in between decides the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distgan import draws
from distgan.tune.record import Trial
from distgan.tune.settings import MOST_SAMPLES, TuneSettings
from distgan.tune.space import Point, Space

_QUANTILE = 0.25
"""Of the members, who take over from as many of the best (Jaderberg et al. 2017)."""


@dataclass(frozen=True)
class Takeover:
    """Another member's state after the rung, and the point to go on at."""

    donor: int
    images: int
    """That the donor had seen."""
    point: Point


def complete(members: Sequence[Trial], rung: int, count: int) -> bool:
    """Whether all members have come to a rung, but those that are over or failed before.

    Args:
        members: whose records there are.
        count: of all members.
    """
    begun = {member.number for member in members}
    return set(range(count)) <= begun and all(m.rung >= rung or m.over for m in members)


def takeover(
    member: int, members: Sequence[Trial], rung: int, space: Space, settings: TuneSettings
) -> Takeover | None:
    """What a member takes over after a rung, or None for one that goes on as it is.

    The worst quarter take over from the best quarter, and who fell ill from these too.

    Args:
        members: all, as they are recorded.
    """
    values = {}
    for trial in members:
        measured = next((m for m in trial.history if m.rung == rung), None)
        if measured is not None:
            values[trial.number] = measured.value if settings.lower_is_better else -measured.value
        elif rung in trial.fell_ill:
            values[trial.number] = math.inf
    order = sorted(values, key=lambda number: (values[number], number))
    size = min(math.ceil(len(order) * _QUANTILE), len(order) // 2)
    best = [number for number in order[:size] if math.isfinite(values[number])]
    if not best or member in best:
        return None
    if member not in order[-size:] and math.isfinite(values.get(member, math.inf)):
        return None
    number = rung * MOST_SAMPLES + member
    u = float(draws.uniforms(settings.seed, "donor", [range(number, number + 1)], 1)[0][0])
    chosen = best[min(int(u * len(best)), len(best) - 1)]
    donor = next(trial for trial in members if trial.number == chosen)
    images = next(m.images for m in donor.history if m.rung == rung)
    point = space.perturb(_point_at(donor, rung), settings.seed, number)
    return Takeover(chosen, images, point)


def _point_at(trial: Trial, rung: int) -> Point:
    """What a member trained with before a rung."""
    earlier = [adoption.point for adoption in trial.adoptions if adoption.rung < rung]
    return earlier[-1] if earlier else trial.first or trial.point
