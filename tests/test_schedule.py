"""Schedules against their formulas, and as a user types them."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter

from distgan.config.optimizer import AdamSettings
from distgan.config.schedule import Rate, Schedule
from distgan.config.settings import override
from distgan.errors import UserError
from distgan.families.registry import from_yaml, to_yaml
from distgan.recipes import recipe
from distgan.training.optimizer import build, follow_schedules


def test_cosine_and_line_go_from_start_to_end_and_stay() -> None:
    cosine, line = Schedule.parse("2:1:1k"), Schedule.parse("2:1:1k:linear")
    for seen in (0, 250, 500, 1_000, 5_000):
        way = min(1.0, seen / 1_000)
        assert cosine.at(seen) == pytest.approx(1 + 0.5 * (1 + math.cos(math.pi * way)))
        assert line.at(seen) == pytest.approx(2 - way)


def test_a_change_may_begin_later() -> None:
    line, cosine = Schedule.parse("2:1:1k-3k:linear"), Schedule.parse("2:1:1k-3k")
    for seen, way in ((0, 0), (1_000, 0), (1_500, 0.25), (2_000, 0.5), (3_000, 1), (9_000, 1)):
        assert line.at(seen) == pytest.approx(2 - way)
        assert cosine.at(seen) == pytest.approx(1 + 0.5 * (1 + math.cos(math.pi * way)))
    assert (line.begin, line.images) == (1_000, 3_000)
    assert str(line) == "2:1:1000-3000:linear"
    assert str(line.scaled(2)) == "4:2:1000-3000:linear"
    assert line != Schedule.parse("2:1:3k:linear")
    assert Schedule.parse("2:1:0-3k:linear") == Schedule.parse("2:1:3k:linear")


def test_no_digit_is_lost_between_a_command_and_config_yaml() -> None:
    for number in (1.2345678e-4, 0.1 + 0.2, 1 / 3, 2e-4, 1.0, 12345678.0):
        for text in (repr(number), f"{number!r}:{number / 7!r}:1M", f"{number!r}:0:300:linear"):
            changed = override(recipe("mnist-mlp-tutorial"), {"generator.optimizer.lr": text})
            back = from_yaml(to_yaml(changed), "test").generator.optimizer.lr
            assert (back.start, back.end, back.images, back.shape) == (
                changed.generator.optimizer.lr.start,
                changed.generator.optimizer.lr.end,
                changed.generator.optimizer.lr.images,
                changed.generator.optimizer.lr.shape,
            )
            assert back.start == number


def test_schedules_that_differ_in_the_last_digit_differ() -> None:
    one, other = Schedule(1.2345678e-4, 0, 100), Schedule(1.2345679e-4, 0, 100)
    assert one != other
    assert one == Schedule(1.2345678e-4, 0, 100)
    assert hash(one) == hash(Schedule.parse(str(one)))
    assert Schedule(1) == Schedule(1, 1, 100)


def test_steps_hold_from_their_images_on() -> None:
    steps = Schedule.parse("1e-3,5e-4@1k,2e-4@3k")
    seen = {0: 1e-3, 999: 1e-3, 1_000: 5e-4, 2_999: 5e-4, 3_000: 2e-4, 10**9: 2e-4}
    assert {images: steps.at(images) for images in seen} == seen
    assert str(steps) == "0.001,0.0005@1000,0.0002@3000"
    assert str(steps.scaled(2)) == "0.002,0.001@1000,0.0004@3000"
    assert not steps.is_zero
    assert not steps.constant
    assert Schedule.parse("2,2@5") == Schedule(2)


@pytest.mark.parametrize(
    "text",
    [
        "2e-4",
        "0.0002:5e-05:20000000",
        "1:0:300:linear",
        "1:0:100-300:linear",
        "1:0:1k-3k",
        "0.001,0.0005@1000,0@3000",
    ],
)
def test_text_survives_a_round_trip(text: str) -> None:
    kind = TypeAdapter(Rate)
    schedule = kind.validate_python(text)
    assert kind.validate_python(kind.dump_python(schedule, mode="json")) == schedule
    changed = override(recipe("mnist-mlp-tutorial"), {"generator.optimizer.lr": text})
    assert changed.generator.optimizer.lr == schedule
    assert from_yaml(to_yaml(changed), "test") == changed


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x", "should be a number, or START:END:IMAGES"),
        ("1:2", "should be a number, or START:END:IMAGES"),
        ("1:2:3:square", "should be a number, or START:END:IMAGES"),
        ("nan", "should be a number"),
        ("1:2:0", "at least one image"),
        ("1:2:5-5", "at least one image"),
        ("1:2:9-5", "at least one image"),
        ("1:2:-5", "at least one image"),
        ("1:2:1-2-3", "should be a number, or START:END:IMAGES"),
        ("0", "greater than 0"),
        ("1:-1:100", "greater than 0"),
        ("1,2@x", "in rising order"),
        ("1,2@5,3@5", "in rising order"),
        ("1,2@1.5", "in rising order"),
        ("1,0@5,3@7", "only the END"),
    ],
)
def test_what_is_wrong_is_said(text: str, wrong: str) -> None:
    with pytest.raises(UserError, match=rf"--generator.optimizer.lr '{text}': .*{wrong}"):
        override(recipe("mnist-mlp-tutorial"), {"generator.optimizer.lr": text})


def test_an_optimizer_follows() -> None:
    settings = AdamSettings(lr="1:0:100:linear", beta2="0.9:0.99:100:linear")
    optimizer = build(settings, torch.nn.Linear(1, 1))
    follow_schedules(settings, optimizer, 50)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)
    assert optimizer.param_groups[0]["betas"] == pytest.approx((0.0, 0.945))
