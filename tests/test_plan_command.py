"""`distgan plan` as a user meets it."""

from __future__ import annotations

import re

import pytest

from distgan.cli import main

MISTAKES = {
    "plan mnist-mlp --gpu h10": "--gpu h10: no such GPU, did you mean h100?",
    "plan mnist-mlp --gpu h100 --workers 10 --nodes 4": (
        "--workers 10: is not a multiple of the 4 nodes; use 8"
    ),
    "plan mnist-mlp --gpu h100 --workers 256": (
        "--workers 256: more workers than images in a batch (64)"
    ),
    "plan mnist-mlp --bandwidth fast": "--bandwidth fast: should be bits or bytes a second",
    "plan mnist-mlp --bandwidth 0Gbit": "--bandwidth 0Gbit: should be bits or bytes a second",
    "plan mnist-mlp --latency 20": "--latency 20: should be a time, such as 20us",
    "plan mnist-mlp --workers 0": "--workers 0: should be a number of 1 or more",
    "plan mnist-mlp --nodes two": "--nodes two: should be a number of 1 or more",
    "plan mnist-mlp --price cheap": "--price cheap: should be an amount for an hour",
    "plan mnist-mlp --image 64": "--image 64: should be CHANNELSxHEIGHTxWIDTH",
    "plan mnist-mpl": "did you mean mnist-mlp?",
    "plan mnist-mlp --parallel.compres true": "did you mean --parallel.compress?",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_costs_one_line(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.strip().splitlines()) == 1
    assert MISTAKES[line] in told.err


def planned(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(line.split()) == 0
    return capsys.readouterr().out


def number(pattern: str, text: str) -> float:
    found = re.search(pattern.replace("N", r"([\d,.]+)"), text)
    assert found is not None, text
    return float(found.group(1).replace(",", ""))


def test_a_plan_on_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    line = "plan cifar10-dcgan --gpu h100 --workers 64 --nodes 8 --price 2.5"
    text = planned(line, capsys)
    speed = number("N images/s", text)
    hours = 10e6 / speed / 3600
    assert number("N min for 10,000,000", text) == pytest.approx(60 * hours, rel=0.02)
    assert number(r"N at 2\.5", text) == pytest.approx(hours * 64 * 2.5, rel=0.01)
    terms = [float(cell) for cell in re.findall(r"([\d.]+)\s+\d+%\n", text)]
    assert sum(terms[:-1]) == pytest.approx(terms[-1], abs=0.01)
    assert terms[-1] == pytest.approx(128 / speed * 1e3, rel=0.01)
    assert "the bottleneck: " in text
    slower = planned(f"{line} --bandwidth 1Gbit", capsys)
    assert number("N images/s", slower) < speed
    assert "--parallel.compress true" in slower


@pytest.mark.slow
def test_a_slow_step_has_a_speed_and_a_suitable_unit(capsys: pytest.CaptureFixture[str]) -> None:
    text = planned("plan cifar10-r3gan --gpu a100 --image 3x1024x1024 --images 4G", capsys)
    speed = number("N images/s", text)
    assert 0 < speed < 100
    assert number("N years for 4,000,000,000", text) * 365.25 * 86_400 == pytest.approx(
        4e9 / speed, rel=0.05
    )


@pytest.mark.slow
def test_a_plan_for_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    width = "--generator.network.width 8 --discriminator.network.width 8"
    text = planned(f"plan mnist-dcgan --workers 4 --nodes 2 --bandwidth 1Mbit {width}", capsys)
    assert "measured here" in text
    assert "the bottleneck: exchanging gradients" in text
