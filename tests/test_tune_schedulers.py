"""What ends trials early, beside straight-line programs of the rules, stopped and resumed."""

from __future__ import annotations

import dataclasses
import random
import statistics
from types import SimpleNamespace

import pytest

from distgan.tune.record import Measured, Trial
from distgan.tune.schedulers import Asha, Median, scheduler
from distgan.tune.settings import TuneSettings

from .tuning import Member

RUNGS, TRIALS = 9, 24
SETTINGS = TuneSettings(max_images=900, rung=100, reduction=3)
CONTROLLER = SimpleNamespace(get_live_trials=lambda: [Member({}, "next")])


def values(number: int) -> list[float]:
    """Of a trial at each rung: falling, from different heights, with noise."""
    draw = random.Random(number)
    height = draw.uniform(1, 20)
    return [height / (rung + draw.uniform(0, 2)) for rung in range(1, RUNGS + 1)]


def ill_at(number: int) -> int:
    """The rung at which a trial falls ill, beyond the last for most."""
    return 2 + number % 3 if number % 7 == 5 else RUNGS + 1


def heard(number: int, settings: TuneSettings) -> list[float]:
    found, rung = values(number), ill_at(number)
    return found if rung > RUNGS else [*found[: rung - 1], settings.worst]


def by_median(settings: TuneSettings) -> list[int]:
    """How many rungs each trial comes to, one after another."""
    past: list[list[float]] = []
    for number in range(TRIALS):
        mine: list[float] = []
        for value in heard(number, settings):
            mine.append(value)
            others = [other for other in past if len(other) >= len(mine)]
            means = [statistics.fmean(other[: len(mine)]) for other in others]
            if len(means) >= 3 and min(mine) > statistics.median(means):
                break
        past.append(mine)
    return [len(each) for each in past]


def by_halving(settings: TuneSettings) -> list[int]:
    """Likewise: at 1, 3 and 9 rungs one goes on that is among the best third of those seen."""
    seen: dict[int, list[float]] = {1: [], 3: [], 9: []}
    reached = []
    for number in range(TRIALS):
        rungs = 0
        for rung, value in enumerate(heard(number, settings), 1):
            rungs = rung
            if rung not in seen:
                continue
            before = sorted([*seen[rung], value])
            # As numpy's quantile of a third, of all seen before: linear between two of them.
            place = (len(before) - 2) / 3
            low = seen[rung] and sorted(seen[rung])
            seen[rung].append(value)
            if not low:
                continue
            whole = int(place)
            upper = low[min(whole + 1, len(low) - 1)]
            if value > low[whole] + (place - whole) * (upper - low[whole]):
                break
        reached.append(rungs)
    return reached


def through(settings: TuneSettings, resumed_every: int) -> list[int]:
    """By the scheduler itself; after so many results all but the records is lost."""
    records: list[Trial] = []
    rule, left = scheduler(settings, {}, 1), resumed_every
    for number in range(TRIALS):
        trial = Trial(number=number, point={}, seed=0, state="running")
        member = Member({}, f"{number}")
        rule.on_trial_add(CONTROLLER, member)
        for rung, value in enumerate(heard(number, settings), 1):
            if left == 0:
                rule, left = scheduler(settings, {}, 1), resumed_every
                assert isinstance(rule, (Asha, Median))
                for old in records:
                    rule.recall(f"before-{old.number}", old.told(settings.worst))
                member = Member({}, f"{number}-again")
                rule.recall(member.trial_id, trial.history)
                rule.on_trial_add(CONTROLLER, member)
            left -= 1
            if rung == ill_at(number):
                trial.state = "ill"
            else:
                trial.history.append(Measured(rung, rung * 100, 10, value))
            result = {"rung": rung, "value": value, "training_iteration": rung}
            if rule.on_trial_result(CONTROLLER, member, result) != "CONTINUE":
                break
        rule.on_trial_complete(CONTROLLER, member, result)
        if trial.state == "running":
            trial.state = "finished" if rung == RUNGS else "ended early"
        records.append(trial)
    return [t.rung + (t.state == "ill") for t in records]


@pytest.mark.parametrize("resumed_every", [-1, 1, 2, 5, 11])
@pytest.mark.parametrize("name", ["median", "asha"])
def test_trials_end_as_the_rule_says(name: str, resumed_every: int) -> None:
    settings = dataclasses.replace(SETTINGS, scheduler=name)  # type: ignore[arg-type]
    expected = (by_median if name == "median" else by_halving)(settings)
    assert min(expected) < RUNGS
    assert expected.count(RUNGS) > 2
    assert through(settings, resumed_every) == expected


def test_a_population_that_goes_on_starts_every_member() -> None:
    """Two of four had come to a rung. Ray Tune makes a member when none waits to be started."""
    rule = scheduler(TuneSettings(scheduler="pbt", max_images=300, rung=100), {0: 1, 1: 1}, 1)
    made: list[Member] = []
    controller = SimpleNamespace(get_live_trials=lambda: made)
    started = []
    for _ in range(20):
        if len(made) < 4 and not any(member.status == Member.PENDING for member in made):
            made.append(Member({"trial": {"number": len(made)}}, "member"))
        chosen = rule.choose_trial_to_run(controller)
        number = chosen.config["trial"]["number"]
        started.append(number)
        reached = max(rule._reached.get(number, 0), 1)
        rule.on_trial_result(controller, chosen, {"rung": reached})
        chosen.status = Member.PAUSED
        if len(set(started)) == 4:
            break
    assert started == [0, 1, 2, 3]
