"""Evaluations: the same on any number of ranks, sensible, kept, and during training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distgan import checkpoint
from distgan.cli import main
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.sources import idx
from distgan.evaluate import evaluation
from distgan.evaluate.command import evaluate
from distgan.evaluate.evaluation import Evaluator
from distgan.evaluate.gather import gather
from distgan.evaluate.measures import MEASURES, Evidence
from distgan.evaluate.settings import EvaluateSettings
from distgan.features import EXTRACTORS
from distgan.features.base import Extractor
from distgan.parallel import World
from distgan.state import TrainingState
from distgan.storage import Storage

from . import ranks
from .test_health import run_here, settings

ALL = tuple(MEASURES)


def measured(world: World, num: int) -> dict[str, tuple[float, ...]]:
    torch.set_num_threads(1)
    images = open_images("mnist")
    config = settings()
    state = TrainingState(config, images.shape, 10, World())
    chosen = EvaluateSettings(metrics=ALL, num=num)
    found = Evaluator(chosen, images, "mnist", config.latent, 0, world).evaluate(
        state.ema.average, 0
    )
    return {name: tuple(v or 0.0 for v in value) for name, value in found.values.items()}


def test_one_two_and_three_ranks_measure_the_same(tmp_path: Path) -> None:
    # 1,030: the last block is a short one, and ranks get unequal shares.
    alone = measured(World(), 1_030)
    assert len(alone) == 11
    for size in (2, 3):
        for found in ranks.on_ranks(size, measured, tmp_path, 1_030):
            for name, values in alone.items():
                assert found[name] == pytest.approx(values, rel=1e-10, abs=1e-10), name


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    pixels = read_resident(open_images("mnist"))
    assert pixels.labels is not None
    images = torch.from_numpy(pixels.images).permute(0, 3, 1, 2)
    return images[:6_000], torch.from_numpy(pixels.labels[:6_000])


@pytest.fixture(scope="module")
def classifier() -> Extractor:
    return EXTRACTORS["mnist"]()


def seen(images: Tensor, extractor: Extractor) -> Evidence:
    return gather(lambda n: images[n.start : n.stop], len(images), extractor, World())


def noisy(images: Tensor, share: float) -> Tensor:
    """A share of the pixels is replaced by noise."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, images.shape, generator=draw, dtype=torch.uint8)
    return torch.where(torch.rand(images.shape, generator=draw) < share, noise, images)


def test_metrics_worsen_as_images_do(digits: tuple[Tensor, Tensor], classifier: Extractor) -> None:
    images, labels = digits
    real, other, of_other = images[:3_000], images[3_000:], labels[3_000:]
    ladders = {
        "noise": [other, *(noisy(other, share) for share in (0.01, 0.05, 0.1))],
        "classes": [other, other[of_other != 3], other[of_other == 3]],
    }
    # What each ladder must worsen at every rung: 1 upwards, -1 downwards.
    expected = {
        "noise": {"frechet": 1, "kernel": 1, "precision": -1, "coverage": -1, "sliced": 1},
        "classes": {
            "frechet": 1,
            "kernel": 1,
            "recall": -1,
            "coverage": -1,
            "class-entropy": -1,
            "missing-classes": 1,
            "classifier-score": -1,
        },
    }
    evidence = seen(real, classifier)
    for ladder, rungs in ladders.items():
        found = []
        for rung in rungs:
            fake = seen(rung, classifier)
            values = {}
            for measure in MEASURES.values():
                values |= measure(evidence, fake, 0)
            found.append(values)
        for name, way in expected[ladder].items():
            steps = np.diff([values[name].value for values in found]) * way
            assert (steps > 0).all(), (ladder, name, steps)


def test_the_interval_holds_the_value_of_other_samples(
    digits: tuple[Tensor, Tensor], classifier: Extractor
) -> None:
    images, _ = digits
    real = seen(images[:2_000], classifier)
    one, other = (
        MEASURES["frechet"](real, seen(noisy(part, 0.1), classifier), 0)["frechet"]
        for part in (images[2_000:4_000], images[4_000:])
    )
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    assert abs(one.value - other.value) < one.high - one.low


def test_an_extractor_does_not_mind_how_images_are_batched(
    digits: tuple[Tensor, Tensor], classifier: Extractor
) -> None:
    images = digits[0][:300]
    whole, parts = classifier(images), [classifier(part) for part in images.split(7)]
    torch.testing.assert_close(whole.features, torch.cat([p.features for p in parts]))
    # Larger images and colours are brought to what it learned on.
    large = images.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat(1, 3, 1, 1)
    assert whole.probabilities is not None
    again = classifier(large).probabilities
    assert again is not None
    assert (again.argmax(1) == whole.probabilities.argmax(1)).double().mean() > 0.97


def test_the_classifier_knows_the_test_digits(test_data: Path, classifier: Extractor) -> None:
    images, labels = idx.read_split(test_data / "mnist", "test")
    found = classifier(torch.tensor(images)[:, None]).probabilities
    assert found is not None
    assert (found.argmax(1).numpy() == labels).mean() > 0.99


def test_training_evaluates_and_keeps_the_best(tmp_path: Path) -> None:
    config = settings(
        evaluate__every=2_560, evaluate__num=500, output__checkpoint_every=1_280, images=7_680
    )
    run_here(World(), config, tmp_path / "run")
    storage = Storage(tmp_path / "run")
    found = evaluation.read(storage)
    assert [entry["images"] for entry in found] == [2_560, 5_120, 7_680]
    assert len({entry["card"]["key"] for entry in found}) == 1
    best = min(found, key=lambda entry: entry["values"]["frechet"]["value"])
    kept = {entry["images_seen"]: entry["score"] for entry in checkpoint.index(storage)}
    assert kept[best["images"]] == best["values"]["frechet"]["value"]
    assert checkpoint.best_score(storage) == kept[best["images"]]
    # Measured afterwards, by itself, the last is what it was.
    again = evaluate(str(tmp_path / "run"))
    assert again.values["frechet"].value == pytest.approx(
        found[-1]["values"]["frechet"]["value"], rel=1e-6
    )
    assert len(evaluation.read(storage)) == 3
    more = evaluate(str(tmp_path / "run"), {"num": "400", "metrics": "sliced"})
    assert more.card.key != again.card.key
    assert len(evaluation.read(storage)) == 4


def test_cards_differ_in_any_field(digits: tuple[Tensor, Tensor]) -> None:
    images = open_images("mnist")
    card = Evaluator(EvaluateSettings(num=100), images, "mnist", 8, 0, World())._card
    assert card == replace(card)
    for name, value in card.to_dict().items():
        if name != "key":
            other = replace(card, **{name: value + 1 if isinstance(value, int) else "another"})
            assert other.key != card.key, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "frechett"], "--evaluate.metrics"),
        (["--num", "3"], "--evaluate.num '3'"),
        (["--features", "inceptoin"], "--evaluate.features inceptoin: no such extractor"),
        (["--weights", "both"], "--evaluate.weights 'both'"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_here(World(), settings(images=640), tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_what_cannot_be_measured_is_said_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    sheet = np.zeros((50, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=sheet)
    assert main(["data", "prepare", str(tmp_path / "a.npz"), "--out", str(tmp_path / "set")]) == 0
    line = ["train", "--data", str(tmp_path / "set"), "--workers", "0", "--evaluate.every", "10k"]
    assert main([*line, "--out", str(tmp_path / "run")]) == 2
    assert "sees images of 3 channels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
