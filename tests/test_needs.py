"""Metrics of fewer images than they need: one line before any work, and never nan or inf."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from distgan.cli import main
from distgan.config.evaluate import EvaluateSettings
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.errors import UserError
from distgan.evaluate import evaluation
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import MEASURES
from distgan.evaluate.needs import NEEDS, check_counts
from distgan.families import DataSpec, build
from distgan.metrics.moments import Moments
from distgan.recipes import recipe
from distgan.report.pictures import read_samples
from distgan.runs.grid import check_grid
from distgan.storage.storage import Storage


def evidence(count: int, seed: int, classes: int = 10) -> FeatureStatistics:
    """Of random features, all labels in turn."""
    draw = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 8, generator=draw)
    probabilities = torch.rand(len(features), classes, generator=draw).softmax(1)
    counts = torch.bincount(probabilities.argmax(1), minlength=classes)
    pixels = torch.randint(256, (len(features), 1, 4, 4), dtype=torch.uint8, generator=draw)
    labels = torch.arange(len(features)) % max(1, len(features) // 2)
    return FeatureStatistics(
        Moments.of(features), features, probabilities, counts, pixels, labels, features, None
    )


@pytest.mark.parametrize("metric", MEASURES)
def test_just_as_many_as_are_needed_give_numbers(metric: str) -> None:
    need = NEEDS[metric]
    real, fake = evidence(need.real, 0), evidence(need.fake, 1)
    found = MEASURES[metric](real, fake, 0)
    assert found
    assert all(math.isfinite(value.value) for value in found.values())


@pytest.mark.parametrize("metric", MEASURES)
def test_one_fewer_is_an_error_that_says_how_many(metric: str) -> None:
    need = NEEDS[metric]
    settings = EvaluateSettings(metrics=(metric,), num=max(10, need.fake))
    check_counts(settings, need.real, 2)
    if need.real > 1:
        with pytest.raises(UserError, match=rf"{metric}: needs at least {need.real} real images"):
            check_counts(settings, need.real - 1, 2)


@pytest.mark.parametrize(("real", "fake"), [(20, 2), (2, 20), (3, 3), (13, 250)])
def test_the_jackknife_of_few_images(real: int, fake: int) -> None:
    found = MEASURES["frechet"](evidence(real, 0), evidence(fake, 1), 0)["frechet"]
    # Without one of two images no covariance is left.
    assert (found.low is None) == (found.high is None) == (min(real, fake) == 2)
    if found.low is not None and found.high is not None:
        assert found.low < found.value < found.high


def test_more_classes_than_are_kept() -> None:
    settings = EvaluateSettings(metrics=("intra-class",), num=20_000)
    check_counts(settings, 60_000, 5_000)
    with pytest.raises(UserError, match="takes up to 5,000 classes"):
        check_counts(settings, 60_000, 5_001)


def test_a_value_that_is_no_number_is_no_result() -> None:
    # All training images alike: a median of 0 to be divided by.
    real, fake = evidence(6, 0), evidence(6, 1)
    alike: Any = FeatureStatistics(**{**vars(real), "training": torch.zeros(6, 8)})
    found = MEASURES["memorisation"](alike, fake, 0)
    with pytest.raises(UserError, match="memorisation: nearness is no number"):
        evaluation._check_finite("memorisation", found)


@pytest.mark.slow
def test_a_set_of_one_image_says_so_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 28, 28), np.uint8))
    data = str(tmp_path / "set")
    line = ["data", "prepare", str(tmp_path / "a.npy"), "--out", data, "--workers", "0"]
    assert main(line) == 0
    line = ["train", "mnist-mlp", "--data", data, "--workers", "0", "--out", str(tmp_path / "run")]
    capsys.readouterr()
    assert main([*line, "--evaluate.every", "1k", "--evaluate.features", "mnist"]) == 2
    assert "--evaluate.metrics frechet: needs at least 2 real images" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("classes", "rows"), [(3, 3), (100, 100), (283, 100), (100_000, 100)])
def test_sheets_of_many_classes(classes: int, rows: int) -> None:
    config = override(recipe("mnist-mlp-conditional"), {"latent": 4})
    seen: list[torch.Tensor] = []

    class Generator(torch.nn.Linear):
        def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            seen.append(labels)
            return z

    family = build(config, DataSpec.numbered(ImageShape(1, 28, 28), classes))
    family.sheet({"generator": Generator(1, 1)}, 0)
    shown = seen[0][::10].tolist()
    assert len(shown) == len(set(shown)) == rows
    assert (shown[0], shown[-1]) == (0, classes - 1)


def test_a_grid_of_more_than_webp_holds_is_reduced(tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20_000, 290), np.uint8)
    Image.fromarray(noise).save(tmp_path / "samples" / "images-000000000001.png")
    (sample,) = read_samples(Storage(tmp_path))
    assert sample.height == 16_383
    assert sample.width == round(290 * 16_383 / 20_000)


def test_grids_beyond_what_viewers_open() -> None:
    image = ImageShape(1, 28, 28)
    with pytest.raises(UserError, match="--num 100000: would be a picture of") as caught:
        check_grid(100_000, image, 316)
    most = int(str(caught.value).split("use ")[1].split(" or less")[0].replace(",", ""))
    check_grid(most, image, most)
