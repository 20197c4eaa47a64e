"""Benchmarks of translations: do both sides compute the same, and is what was found told?"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import translators
from benchmarks.textbook_translation import in_torch_layers
from benchmarks.translation import __main__ as command
from benchmarks.translation import plain
from benchmarks.translation.page import tables
from benchmarks.translation.sides import NEVER, SIDES, TASKS, Data, Side
from benchmarks.translation.timed import Asked, waiting
from benchmarks.translators import TRANSLATIONS
from distgan.config.settings import override
from distgan.families import Batch
from distgan.families.data import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.training.state import TrainingState

_SMALL = {"generator.network.width": 4, "discriminator.network.width": 4, "batch": 2}


@pytest.mark.parametrize("name", ["W5", "W7"])
def test_distgan_computes_what_the_textbook_does(name: str) -> None:
    workload = TRANSLATIONS[name]
    config = override(workload.config, {**_SMALL, "precision": "float64"})
    data = DataSpec(ImageShape(1, 16, 16), other=ImageShape(1, 16, 16))
    state = TrainingState(config, data, World())
    torch.manual_seed(config.seed)
    family = state.family
    modules = {role: net.module.double() for role, net in family.networks().items()}
    start = {role: [w.detach().clone() for w in m.parameters()] for role, m in modules.items()}
    plain = {role: in_torch_layers(module) for role, module in modules.items()}
    update = translators.update(plain, translators.rule_of(config))
    torch.manual_seed(5)
    for _ in range(3):
        columns = {each: torch.rand(2, 1, 16, 16).double() * 2 - 1 for each in family.columns()}
        state.step([Batch(columns, {})])
        update(*family.sides(Batch(columns, {})))
    for role, module in plain.items():
        ours = list(state.networks[role].network.parameters())
        pairs = zip(module.parameters(), ours, strict=True)
        assert all((weight - other).abs().max() < 1e-9 for weight, other in pairs)
        moved = zip(ours, start[role], strict=True)
        assert max((weight - before).abs().max().item() for weight, before in moved) > 1e-4


def test_the_plain_script_has_the_networks_and_rates_of_the_recipe() -> None:
    config = SIDES["edges2digits-plain"][1].config("mnist", 0)
    shape = ImageShape(1, 28, 28)
    wanted = (
        config.generator.network.build(shape, shape),
        config.discriminator.network.build(shape._replace(channels=2)),
    )
    for ours, theirs in zip(plain.networks(shape), wanted, strict=True):
        assert [w.shape for w in ours.parameters()] == [w.shape for w in theirs.parameters()]
    for part in (config.generator, config.discriminator):
        assert part.optimizer.lr.at(0) == plain.RATE
    assert config.batch == plain.BATCH
    assert translators.rule_of(config) == plain.Rule(plain.RATE)


def test_falling_rates_end_with_the_images() -> None:
    name = "edges2digits-cyclegan"
    side = SIDES[name][1]
    rate = side.config("mnist", 0, 1_000).generator.optimizer.lr
    recipes = side.config("mnist", 0, 20_000).generator.optimizer.lr
    for share in (0, 0.4, 0.5, 0.75, 1):
        assert rate.at(1_000 * share) == pytest.approx(recipes.at(20_000 * share))
    assert (rate.at(500), rate.at(1_000)) == (rate.at(0), 0)
    assert side.falls
    assert not SIDES["edges2digits-pix2pix"][1].falls
    assert SIDES["edges2digits-pix2pix"][1].config("mnist", 0).images == NEVER


def test_waiting_is_a_share_of_the_time_not_of_the_records() -> None:
    found = [
        {"images": 1_000, "images_per_second": 100.0, "data_wait": 0.02},  # 10 s
        {"images": 1_300, "images_per_second": 10.0, "data_wait": 0.06},  # 30 s
        {"images": 1_300},
    ]
    assert waiting(found) == {"waits for data, %": 5.0}
    assert waiting([]) == {}


def _record(side: str, seed: int, kinds: dict[str, dict[str, float]]) -> dict[str, Any]:
    speed = {"images": 1_000 * (seed + 1), "seconds": 60.0, "images per second": 20.0}
    about = {"task": SIDES[side][0].name, "side": side, "seed": seed, "seconds": 60.0, "num": 500}
    return {**about, "values": kinds, "speed": speed}


def test_the_tables_have_means_ranges_and_baselines() -> None:
    common = {"l1-of-input": 0.3, "psnr-of-input": 10.0}
    found = [
        _record("cifar10-superres", seed, {"average": {"l1": l1, "psnr": 20.0, **common}})
        for seed, l1 in enumerate((0.1, 0.2, 0.6))
    ]
    found.append(_record("cifar10-superres-l1", 0, {"average": {"l1": 0.25, **common}}))
    lines = tables(found).splitlines()
    assert "**CIFAR-10, 32x32 pixels from 16x16**, 60 seconds of training, 1 to 3 seeds" in lines[0]
    assert lines[2] == "|  | L1 \u2193 | PSNR, dB \u2191 |"
    assert "| SRGAN | 0.3 (0.1 to 0.6) | 20 |" in lines
    assert "| SRGAN without its discriminator | 0.25 | - |" in lines
    assert "| *bicubic* | 0.3 | 10 |" in lines
    assert "| SRGAN | 2,000 (1,000 to 3,000) | 60 | 20 |" in lines
    # Nothing of other tasks, of which there are no records.
    assert not [line for line in lines if "MNIST" in line]


def test_last_weights_stand_beside_the_average() -> None:
    kinds = {"average": {"label-score": 0.9}, "last": {"label-score": 0.8}}
    lines = tables([_record("edges2digits-pix2pix", 0, kinds)]).splitlines()
    assert "| pix2pix | 0.9 |" in lines
    assert "| pix2pix, last weights | 0.8 |" in lines


def test_records_of_other_settings_have_other_names(tmp_path: Path) -> None:
    task, side = SIDES["edges2digits-pix2pix"]
    asked = Asked(task, side, Data("mnist", "elsewhere"), 0, 60.0, 2, 500)
    changed = Side(side.name, side.title, side.recipe, own={"l1": 10})
    kinds = [
        asked,
        replace(asked, seed=1),
        replace(asked, seconds=61.0),
        replace(asked, num=501),
        replace(asked, threads=1),
        replace(asked, side=changed),
    ]
    files = {command.file_of(each, tmp_path) for each in kinds}
    assert len(files) == len(kinds)
    moved = replace(asked, data=Data("there", "there too"))
    assert command.file_of(moved, tmp_path) == command.file_of(asked, tmp_path)


def test_every_value_of_the_tables_is_measured() -> None:
    for task in TASKS:
        assert set(task.shown) <= set(task.metrics)
        for baseline in task.baselines:
            assert set(baseline.values) <= set(task.shown)


@pytest.mark.slow
def test_a_quick_run_leaves_records_and_is_not_repeated(tmp_path: Path, test_data: Path) -> None:
    line = [sys.executable, "-m", "benchmarks.translation", "--quick", "--threads", "1"]
    line += ["--only", "edges2digits-l1", "edges2digits-plain", "--out", str(tmp_path)]
    root = Path(command.__file__).parents[2]
    environment = {**os.environ, "DISTGAN_TEST_DATA": str(test_data), "PYTHONPATH": str(root)}
    for repeated in (False, True):
        told = subprocess.run(
            line, cwd=root, env=environment, capture_output=True, text=True, timeout=300
        )
        assert told.returncode == 0, told.stderr
        assert ("is there" in told.stdout) == repeated
        assert "| L1 alone |" in told.stdout
        assert "| pix2pix, plain script |" in told.stdout
    for side in ("edges2digits-l1", "edges2digits-plain"):
        assert len(list((tmp_path / "records").glob(f"{side}-8-0-*.json"))) == 1
        assert len(list((tmp_path / "records").glob(f"{side}-8-0-*.png"))) == 1
