"""Stacked MNIST: its images, what sees them, the modes that are found, and its recipes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.reproduce import stacked as reproduced
from distgan import PrepareSettings, UserError
from distgan.cli.main import main
from distgan.config.shape import ImageShape
from distgan.data import manifest, raw
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.sources import Source, open_source
from distgan.data.sources.stacked import CLASSES, SHAPE, StackedDigits
from distgan.evaluate.extraction import extract_all_ranks
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import MEASURES
from distgan.families import DataSpec
from distgan.families.check import weights
from distgan.features import load, resolve
from distgan.features.stacked import suits
from distgan.launch.prepare import prepare
from distgan.metrics.classes import mode_coverage
from distgan.parallel import World
from distgan.recipes import recipe, stacked
from distgan.storage.storage import Storage

from .ranks import on_ranks

COUNT = 300


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 300 images."""
    folder = tmp_path_factory.mktemp("stacked") / "set"
    prepare("stacked-mnist", str(folder), PrepareSettings(subset=COUNT), workers=0)
    return folder


def test_channels_are_digits_with_background_around_them(made: Path) -> None:
    images = open_images(str(made))
    pixels = read_resident(images)
    digits = read_resident(open_images("mnist"))
    assert pixels.labels is not None
    assert digits.labels is not None
    known = {
        image.tobytes(): label for image, label in zip(digits.images, digits.labels, strict=True)
    }
    edge = pixels.images.copy()
    edge[:, 2:-2, 2:-2] = 0
    assert not edge.any()
    for image, label in zip(pixels.images, pixels.labels.tolist(), strict=True):
        shown = [known[image[2:-2, 2:-2, [channel]].tobytes()] for channel in range(3)]
        assert images.classes[label] == "".join(map(str, shown))
    # Digits and channels are drawn apart from each other.
    assert len({image.tobytes() for image in pixels.images}) == COUNT


def test_an_image_depends_on_the_seed_and_its_number_alone(made: Path) -> None:
    whole = open_source("stacked-mnist", "train")
    assert whole.count == 128_000
    numbers = np.array([0, 3, 4, 90_000])
    found = shown(whole, numbers)
    for image, item, number in zip(found, whole.read(numbers), numbers, strict=True):
        assert np.array_equal(shown(whole, np.array([number]))[0], image)
        assert whole.read(np.array([number]))[0].label == item.label
    # A smaller set is the beginning of a larger one.
    kept = read_resident(open_images(str(made)))
    assert np.array_equal(kept.images[[0, 3, 4]], found[:3])
    other = open_source("stacked-mnist", "train", count=5, seed=1)
    assert other.count == 5
    assert not np.array_equal(shown(other, numbers[:1]), found[:1])


def shown(source: Source, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    images = [item.image for item in source.read(numbers)]
    assert all(isinstance(image, np.ndarray) for image in images)
    return np.stack(images)  # type: ignore[arg-type]


def test_digits_are_drawn_evenly() -> None:
    source = StackedDigits(np.zeros((10, 28, 28), np.uint8), np.arange(10), 20_000, seed=0)
    labels = source._drawn(np.arange(20_000)) @ np.array([100, 10, 1])
    counts = np.bincount(labels, minlength=1000)
    # Pearson's statistic has 999 degrees of freedom, so a standard deviation of 45.
    assert ((counts - 20) ** 2 / 20).sum() == pytest.approx(999, abs=4 * 45)


@pytest.mark.slow
def test_any_number_of_workers_makes_the_same_bytes(tmp_path: Path) -> None:
    options = PrepareSettings(subset=5_000, shard_size=4, validation=100)
    sets = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        prepare("stacked-mnist", str(folder), options, workers=workers)
        files = sorted(file for file in folder.rglob("*.*") if file.is_file())
        sets.append({str(file.relative_to(folder)): file.read_bytes() for file in files})
    names = sorted(sets[0])
    assert [name for name in names if name.endswith("manifest.json")] == [
        "manifest.json",
        "validation/manifest.json",
    ]
    assert len([name for name in names if name.endswith(".parquet")]) > 3
    assert sets[0] == sets[1]


def test_it_has_one_split_and_a_name() -> None:
    with pytest.raises(UserError, match=r"--split test: stacked-mnist.*--validation N"):
        open_source("stacked-mnist", "test")
    with pytest.raises(
        UserError, match=r"stackd-mnist: no such file.*did you mean stacked-mnist\?"
    ):
        open_source("stackd-mnist", "train")


def test_train_makes_it_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert raw.is_raw("stacked-mnist", "--data")
    folder = raw.set_folder("stacked-mnist", PrepareSettings(), "--data")
    assert folder == raw.set_folder("stacked-mnist", PrepareSettings(), "--data")
    assert folder != raw.set_folder("stacked-mnist", PrepareSettings(seed=1), "--data")
    # A folder of that name is what is meant where there is one.
    prepare("stacked-mnist", "stacked-mnist", PrepareSettings(subset=10), workers=0)
    assert not raw.is_raw("stacked-mnist", "--data")
    assert open_images("stacked-mnist").count == 10


def test_python_and_dry_runs_say_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="`distgan data prepare stacked-mnist --out stacked-mnist`"):
        open_images("stacked-mnist")
    assert main(["train", "stacked-mnist-dcgan", "--dry-run"]) == 2
    assert "`distgan data prepare stacked-mnist --out SET`" in capsys.readouterr().err


def pixels_of(folder: Path) -> torch.Tensor:
    images = read_resident(open_images(str(folder))).images
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def test_three_classifiers_are_one_of_a_thousand_classes(made: Path) -> None:
    images = pixels_of(made)[:100]
    seen, digits = load("stacked-mnist")(images), load("mnist")
    each = [digits(images[:, [channel], 2:-2, 2:-2].contiguous()) for channel in range(3)]
    assert torch.equal(seen.features, torch.cat([one.features for one in each], 1))
    first, second, third = (one.probabilities for one in each)
    assert seen.probabilities is not None
    product = torch.einsum("na,nb,nc->nabc", first, second, third).flatten(1)
    torch.testing.assert_close(seen.probabilities, product)
    labels = read_resident(open_images(str(made))).labels
    assert labels is not None
    assert (seen.probabilities.argmax(1).numpy() == labels[:100]).mean() > 0.95
    # Without the background around the digits nothing else is seen.
    cut = load("stacked-mnist")(images[:10, :, 2:-2, 2:-2])
    torch.testing.assert_close(cut.features, seen.features[:10])
    assert load("stacked-mnist").hash != digits.hash


def test_it_is_chosen_by_the_set(made: Path) -> None:
    images = open_images(str(made))
    assert resolve("auto", images) == "stacked-mnist"
    # Other pictures of a thousand classes, and other sizes.
    assert suits(images)
    assert not suits(replace(images, classes=tuple(map(str, range(1000)))))
    assert not suits(replace(images, shape=ImageShape(3, 64, 64)))
    with pytest.raises(UserError, match=r"stacked-mnist: reads the digits.*28x28x1; name another"):
        resolve("stacked-mnist", open_images("mnist"))


def evidence(counts: torch.Tensor) -> FeatureStatistics:
    nothing = torch.zeros(1, 1)
    return FeatureStatistics((), nothing, nothing, counts, nothing)


def test_the_set_shows_its_modes_and_little_divergence() -> None:
    digits = read_resident(open_images("mnist")).labels
    assert digits is not None
    # What is drawn for the pixels, without them.
    source = StackedDigits(np.zeros((len(digits), 28, 28), np.uint8), digits, 26_000, seed=0)
    labels = digits[source._drawn(np.arange(26_000))] @ np.array([100, 10, 1])
    counts = torch.from_numpy(np.bincount(labels, minlength=1000))
    values = MEASURES["modes"](evidence(counts), evidence(counts), 0)
    assert values["modes-found"].value == 1000
    # The histogram's own bias, and that of digits that are not equally frequent.
    shares = np.bincount(digits) / len(digits)
    uneven = 3 * (shares * np.log(10 * shares)).sum()
    assert values["uniform-divergence"].value == pytest.approx(999 / 52_000 + uneven, rel=0.1)
    left = counts.clone()
    left[:300] = 0
    values = MEASURES["modes"](evidence(counts), evidence(left), 0)
    assert values["modes-found"].value == 700
    assert values["uniform-divergence"].value > np.log(1000 / 700)


def test_divergence_from_uniform_is_that_of_its_definition() -> None:
    counts = torch.tensor([1, 0, 5, 2])
    shares = np.array([1, 5, 2]) / 8
    found = mode_coverage(counts, torch.ones(4, dtype=torch.int64))
    assert found.found == 3
    assert found.from_uniform == pytest.approx((shares * np.log(4 * shares)).sum(), rel=1e-12)
    assert found.from_uniform == pytest.approx(found.divergence, rel=1e-12)
    assert mode_coverage(torch.tensor([3, 3]), torch.tensor([1, 1])).from_uniform == 0


def counted(world: World, folder: str) -> dict[str, float]:
    images = pixels_of(Path(folder))
    extractor = load("stacked-mnist")
    seen = extract_all_ranks(lambda n: images[n.start : n.stop], COUNT, extractor, world)
    return {name: found.value for name, found in MEASURES["modes"](seen, seen, 0).items()}


@pytest.mark.slow
def test_any_number_of_ranks_counts_the_same_modes(made: Path, tmp_path: Path) -> None:
    alone = counted(World(), str(made))
    for found in on_ranks(3, counted, tmp_path, str(made)):
        assert found == alone
    assert 200 < alone["modes-found"] <= COUNT


@pytest.mark.slow
def test_the_classifier_misses_what_is_missing(tmp_path: Path) -> None:
    prepare("stacked-mnist", str(tmp_path / "set"), PrepareSettings(subset=8_000), workers=0)
    images, labels = (
        pixels_of(tmp_path / "set"),
        read_resident(open_images(str(tmp_path / "set"))).labels,
    )
    assert labels is not None
    kept = images[torch.from_numpy(labels >= 300)]
    extractor = load("stacked-mnist")
    whole, part = (
        extract_all_ranks(lambda n: shown[n.start : n.stop], len(shown), extractor, World())  # noqa: B023
        for shown in (images, kept)
    )
    assert whole.counts is not None
    assert part.counts is not None
    found = MEASURES["modes"](whole, part, 0)["modes-found"].value
    # Of a hundred digits one is taken for another.
    assert 680 <= found <= 720
    assert part.counts[:300].sum() < 0.01 * len(kept)


@pytest.mark.parametrize("name", stacked.RECIPES)
def test_recipes_are_measured_by_modes(name: str) -> None:
    config = stacked.RECIPES[name]()
    assert config.recipe == name
    assert config.evaluate.metrics[0] == "modes"
    assert config.evaluate.num == 26_000


def test_the_network_of_the_paper_has_its_size() -> None:
    counts = weights(recipe("stacked-mnist-r3gan"), DataSpec.numbered(SHAPE, len(CLASSES)))
    # Huang et al. 2024: 20.7 million weights each.
    assert [round(count / 1e6, 1) for count in counts.values()] == [20.7, 20.7]


def test_the_manifest_says_what_it_was_made_of(made: Path) -> None:
    found = manifest.read(Storage(str(made)))
    assert found is not None
    assert (found.source["kind"], found.source["subset"], found.source["seed"]) == (
        "stacked-mnist",
        COUNT,
        0,
    )
    assert found.classes == CLASSES


@pytest.mark.slow
def test_the_benchmark_trains_measures_and_takes_up_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduced, "SAMPLES", 200)
    narrow = {
        **{f"{role}.network.name": "dcgan" for role in ("generator", "discriminator")},
        **{f"{role}.network.width": 4 for role in ("generator", "discriminator")},
        **reproduced.R1_ALONE,
    }

    def run(images: int) -> dict[str, Any]:
        return reproduced.measure(
            3, images, "stacked-mnist-r3gan-tiny", narrow, tmp_path / "run", training_images=256
        )

    found = run(128)
    assert 1 <= found["modes"] <= 200
    assert np.log(1000 / 200) - 1e-9 <= found["divergence"] <= np.log(1000)
    assert (found["samples"], found["images"]) == (200, 128)
    assert found["classifier"] == load("stacked-mnist").hash
    assert found["seconds"] > 0
    card = (tmp_path / "run" / "generator.json").stat().st_mtime_ns
    assert run(128) == found
    assert (tmp_path / "run" / "generator.json").stat().st_mtime_ns == card
