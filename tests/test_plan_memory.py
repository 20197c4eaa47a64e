"""The memory that `distgan plan` counts, beside sums by hand and what torch's profiler saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from distgan.cli import main
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.plan.batches import random_batches
from distgan.plan.devices import GPUS
from distgan.plan.memory import Held, memory
from distgan.recipes import recipe
from distgan.training.state import TrainingState

DATA = DataSpec.numbered(ImageShape(1, 16, 16), 10)


def test_tensors_are_counted_while_somebody_holds_them() -> None:
    with Held() as held:
        first = torch.zeros(100, device="meta")
        view, other = first.view(10, 10)[2:], torch.zeros(50, device="meta")
        assert held.now == 600
        del first
        assert held.now == 600
        del view
        assert held.now == 200
        other = other * 2
        assert held.now == 200
    assert held.most == 600


def small(**changes: Any) -> RunConfig:
    widths = {f"{side}.network.widths": "8" for side in ("generator", "discriminator")}
    return override(recipe("mnist-mlp-tutorial"), {**widths, "latent": 4, **changes})


def test_what_stays_is_a_sum_by_hand() -> None:
    found = memory(small(), DATA, 16)
    generator = 4 * (4 * 8 + 8 + 8 * 256 + 256)
    discriminator = 4 * (256 * 8 + 8 + 8 + 1)
    assert found.weights == generator + discriminator
    assert found.averages == generator
    assert found.optimizers == 2 * (generator + discriminator)
    double = memory(small(precision="float64"), DATA, 16)
    assert double.weights == 2 * found.weights


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("mnist-dcgan", {"generator.network.width": 16, "discriminator.network.width": 16}),
    "sngan": (
        "cifar10-sngan-tiny",
        {"generator.network.width": 16, "discriminator.network.width": 16},
    ),
    "penalty": ("mnist-mlp-tutorial", {"discriminator.penalty.r1": 1, "accumulate": 2}),
    "vae": ("mnist-vae", {}),
}


@pytest.mark.parametrize(
    "case",
    [case if case == "dcgan" else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
)
def test_a_step_holds_what_the_profiler_sees(case: str, tmp_path: Path) -> None:
    name, changes = CASES[case]
    config, images = override(recipe(name), changes), 32
    data = DATA
    state = TrainingState(config, data, World())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        batches = random_batches(config, state.family, images, torch.device("cpu"))
        for _ in range(2 * state.cycle):
            state.step(batches)
    seen.export_chrome_trace(str(tmp_path / "trace.json"))
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    # Moments come with the first cycle, so the second is at its fullest.
    changes_of = [
        (event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"
    ]
    now = most = 0
    for _, size in sorted(changes_of, key=lambda change: change[0]):
        now += size
        most = max(most, now)
    found = memory(config, DATA, images)
    # Convolutions on a CPU take scratch memory besides.
    assert found.step + found.optimizers == pytest.approx(most, rel=0.25)


def test_a_larger_share_of_the_batch_needs_more_memory() -> None:
    few, many = (memory(recipe("mnist-dcgan"), DATA, size).step for size in (32, 256))
    assert 4 * few < many < 8.5 * few


def test_a_plan_says_whether_it_fits(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["plan", "mnist-dcgan", "--gpu", "l4"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "on each worker: weights 3.6 MB, averages 3.0 MB, optimizers 7.2 MB" in said
    assert "24 GB on each GPU: fits (counted, not measured on any GPU)" in said
    assert main([*line, "--batch", "262144", "--image", "1x112x112"]) == 0
    assert "does not fit; more --accumulate" in capsys.readouterr().out
    assert GPUS["l4"].size == 24e9
