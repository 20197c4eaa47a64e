"""Evaluations: the same on any number of ranks, sensible, kept, and during training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from distgan.cli import main
from distgan.config.evaluate import EvaluateSettings
from distgan.config.shape import ImageShape
from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.data.sources import idx
from distgan.data.sources.named import NAMED
from distgan.evaluate import evaluation
from distgan.evaluate.evaluation import Evaluator
from distgan.evaluate.extraction import extract_all_ranks
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import MEASURES, WANT_LABELS, WANT_TRAINING
from distgan.evaluate.reals import Reals
from distgan.families import DataSpec
from distgan.features import EXTRACTORS, load, resolve
from distgan.features.base import Extractor
from distgan.launch.evaluation import evaluate
from distgan.launch.prepare import prepare
from distgan.parallel import World
from distgan.runs import checkpoint
from distgan.storage.storage import Storage
from distgan.training.state import TrainingState

from . import ranks
from .steps import family_of
from .test_health import run_here, settings

ALL = tuple(name for name in MEASURES if name not in WANT_LABELS)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set of 1,050 digits, and 50 held out."""
    folder = tmp_path_factory.mktemp("few")
    pixels = read_resident(open_images("mnist"))
    np.savez(folder / "a.npz", images=pixels.images[:1_100], labels=pixels.labels[:1_100])
    line = ["data", "prepare", str(folder / "a.npz"), "--out", str(folder / "set")]
    assert main([*line, "--validation", "50", "--workers", "0"]) == 0
    return str(folder / "set")


def measured(world: World, num: int, data: str) -> dict[str, tuple[float, ...]]:
    torch.set_num_threads(1)
    images = open_images(data)
    config = settings()
    state = TrainingState(config, DataSpec.numbered(images.shape, 10), World())
    chosen = EvaluateSettings(metrics=ALL, num=num)
    with state.generating() as networks:
        found = Evaluator(chosen, images, "few", state.family, world).evaluate(networks, 0)
    return {name: tuple(v or 0.0 for v in value) for name, value in found.values.items()}


@pytest.mark.slow
def test_one_two_and_three_ranks_measure_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: str
) -> None:
    # 1,030: the last block is a short one, and ranks get unequal shares.
    alone = measured(World(), 1_030, few)
    assert len(alone) == 16
    for size in (2, 3):
        # The second time from what the first kept.
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{size}"))
        for found in ranks.on_ranks(size, measured, tmp_path, 1_030, few):
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


def seen(images: Tensor, extractor: Extractor) -> FeatureStatistics:
    return extract_all_ranks(lambda n: images[n.start : n.stop], len(images), extractor, World())


def noisy(images: Tensor, share: float) -> Tensor:
    """A share of the pixels is replaced by noise."""
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, images.shape, generator=draw, dtype=torch.uint8)
    return torch.where(torch.rand(images.shape, generator=draw) < share, noise, images)


@pytest.mark.slow
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
            for name, measure in MEASURES.items():
                if name not in WANT_TRAINING:
                    values |= measure(evidence, fake, 0)
            found.append(values)
        for name, way in expected[ladder].items():
            steps = np.diff([values[name].value for values in found]) * way
            assert (steps > 0).all(), (ladder, name, steps)


@pytest.mark.slow
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


def test_an_extractor_leaves_the_runs_random_state_alone() -> None:
    before = torch.get_rng_state()
    load("mnist")
    assert torch.equal(torch.get_rng_state(), before)


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


@pytest.mark.slow
def test_the_classifier_knows_the_test_digits(test_data: Path, classifier: Extractor) -> None:
    images, labels = idx.read_split(test_data / "mnist", "test")
    found = classifier(torch.tensor(images)[:, None]).probabilities
    assert found is not None
    assert (found.argmax(1).numpy() == labels).mean() > 0.99


@pytest.mark.slow
def test_the_classifier_knows_the_test_clothes() -> None:
    folder = Path("/usr/share/datasets/fashion-mnist")
    if not folder.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    source = idx.open_split(folder, "test")
    assert source.classes == NAMED["fashion-mnist"].classes
    images, labels = idx.read_split(folder, "test")
    found = EXTRACTORS["fashion-mnist"]()(torch.tensor(images)[:, None]).probabilities
    assert found is not None
    assert (found.argmax(1).numpy() == labels).mean() > 0.91


@pytest.mark.slow
def test_the_classifier_knows_test_images_in_colour(test_data: Path) -> None:
    pixels = read_resident(open_images(str(test_data / "cifar10" / "test-2k.parquet")))
    images = torch.from_numpy(pixels.images).permute(0, 3, 1, 2)
    found = EXTRACTORS["cifar10"]()(images).probabilities
    assert found is not None
    assert (found.argmax(1).numpy() == pixels.labels).mean() > 0.7


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


def test_a_set_that_lies_class_by_class_is_seen_as_a_whole(tmp_path: Path) -> None:
    order = np.repeat(np.arange(4), 1_000)
    pixels = order.astype(np.uint8)[:, None, None] + np.zeros((1, 28, 28), np.uint8)
    np.savez(tmp_path / "set.npz", images=pixels, labels=order)
    prepare(str(tmp_path / "set.npz"), str(tmp_path / "set"))
    images = open_images(str(tmp_path / "set"))
    wanted = EvaluateSettings(num=4_000, features="mnist", metrics=("sliced",))
    seen = Reals(images, wanted, World())._extract(EXTRACTORS["mnist"](), World())
    # Of four thousand images the pixels of two thousand are kept.
    kept = torch.bincount(seen.pixels[:, 0, 0, 0].long())
    assert kept.sum() == 2_000
    assert kept.min() > 400
    assert seen.labels is not None
    assert torch.equal(seen.labels[:2_000], seen.pixels[:, 0, 0, 0].long())


def test_scores_of_different_metrics_are_not_compared(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for images, score, of in ((1, 12.0, "a"), (2, 9.0, "a"), (3, 11.0, "a"), (4, -0.7, "b")):
        state = {"images_seen": images, "score": score, "score_of": of}
        checkpoint.save(storage, state, 2)
        best = [entry["images_seen"] for entry in checkpoint.index(storage)]
    assert best == [3, 4]
    assert checkpoint.best_score(storage, "a") == 11.0
    assert checkpoint.best_score(storage, "b") == -0.7
    assert checkpoint.best_score(storage, "c") == float("inf")


def test_the_best_is_the_highest_where_higher_is_better(tmp_path: Path) -> None:
    config = settings(
        evaluate__every=1_280,
        evaluate__num=500,
        evaluate__metrics=("classifier-score",),
        output__keep_checkpoints=1,
        images=5_120,
    )
    run_here(World(), config, tmp_path / "run")
    storage = Storage(tmp_path / "run")
    values = [e["values"]["classifier-score"]["value"] for e in evaluation.read(storage)]
    assert min(values) < max(values)
    assert checkpoint.best_score(storage) == -max(values)


def test_cards_differ_in_any_field(digits: tuple[Tensor, Tensor]) -> None:
    images = open_images("mnist")
    card = Evaluator(EvaluateSettings(num=100), images, "mnist", family_of(images), World())._card
    assert card == replace(card)
    for name, value in card.to_dict().items():
        if name not in ("key", "used", "bias", "arithmetic"):
            other = replace(card, **{name: value + 1 if isinstance(value, int) else "another"})
            assert other.key != card.key, name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--metrics", "frechett"], "--metrics"),
        (["--num", "3"], "--num '3'"),
        (["--features", "inceptoin"], "--features inceptoin: no such extractor"),
        (["--weights", "both"], "--weights 'both'"),
        (["--metrics", "intra-class"], "--metrics intra-class: the generator takes no labels"),
        (["--workers", "-1"], "--workers -1: should be at least 0"),
        (["--device", "gpu"], "--device gpu: there is no GPU here"),
        (["--address", "127.0.0.1:1"], "--address 127.0.0.1:1: no Ray cluster answers"),
        (["--features", "inception"], "pip install 'distgan[inception]'"),
    ],
)
def test_mistakes_are_one_line(
    options: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distgan.features.find_spec", lambda package: None)
    run_here(World(), settings(images=640), tmp_path / "run")
    assert main(["evaluate", str(tmp_path / "run"), *options]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_what_cannot_be_measured_is_said_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distgan.features.find_spec", lambda package: None)
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "holds no run" in capsys.readouterr().err
    sheet = np.zeros((50, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=sheet)
    assert main(["data", "prepare", str(tmp_path / "a.npz"), "--out", str(tmp_path / "set")]) == 0
    line = ["train", "--data", str(tmp_path / "set"), "--workers", "0", "--evaluate.every", "10k"]
    assert main([*line, "--out", str(tmp_path / "run")]) == 2
    assert "pip install 'distgan[efficientnet]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_reals_are_seen_once_and_again_where_what_is_kept_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images, extractor = open_images(few), EXTRACTORS["mnist"]()
    chosen = EvaluateSettings(num=300, metrics=("frechet", "memorisation"))
    first = Reals(images, chosen, World()).features(extractor, World()).to_tensors()
    (file,) = (tmp_path / "distgan" / "statistics").iterdir()
    before = file.stat().st_mtime_ns
    again = Reals(images, chosen, World()).features(extractor, World()).to_tensors()
    assert file.stat().st_mtime_ns == before
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["training"].shape == (1_050, 64)
    assert first["held_out"].shape == (50, 64)
    file.write_bytes(file.read_bytes()[:1_000])
    mended = Reals(images, chosen, World()).features(extractor, World()).to_tensors()
    assert all(torch.equal(first[name], mended[name]) for name in first)
    assert file.stat().st_mtime_ns != before
    # Another count is another key.
    Reals(images, replace(chosen, num=200), World()).features(extractor, World())
    assert len(list(file.parent.iterdir())) == 2


def test_copies_of_training_images_are_told_from_held_out_ones(few: str) -> None:
    reals = Reals(open_images(few), EvaluateSettings(num=100, metrics=("memorisation",)), World())
    found = reals.features(EXTRACTORS["mnist"](), World())
    assert reals.held_out == 50
    assert found.held_out is not None
    assert found.training is not None
    assert (len(found.held_out), len(found.training)) == (50, 1_050)
    copies = replace(found, features=found.training[:100])
    assert MEASURES["memorisation"](found, copies, 0)["copied"].value == 1
    unseen = replace(found, features=found.held_out)
    assert MEASURES["memorisation"](found, unseen, 0)["nearness"].value == pytest.approx(1)


def test_a_conditional_generator_is_measured_class_by_class(tmp_path: Path) -> None:
    run_here(World(), settings(images=1_280, conditional=True), tmp_path / "run")
    found = evaluate(str(tmp_path / "run"), {"num": "500", "metrics": "intra-class,frechet"})
    intra = ("intra-frechet", "worst-class-frechet", "classes-compared")
    assert set(found.values) == {"frechet", *intra}
    assert found.values["classes-compared"].value == 10
    assert "intra-class, frechet: the fewer" in found.card.bias
    assert found.values["worst-class-frechet"].value >= found.values["intra-frechet"].value


def test_clothes_are_known_by_their_classes(tmp_path: Path) -> None:
    images = open_images("mnist")
    assert resolve("auto", images) == "mnist"
    clothes = replace(images, classes=NAMED["fashion-mnist"].classes)
    assert resolve("auto", clothes) == "fashion-mnist"
    assert resolve("auto", replace(clothes, shape=ImageShape(3, 28, 28))) == "efficientnet"


@pytest.mark.slow
@pytest.mark.ray
def test_workers_on_ray_measure_what_this_process_does(cluster: str, tmp_path: Path) -> None:
    run_here(World(), settings(images=1_280), tmp_path / "run")
    asked = {"num": "700", "metrics": "frechet,kernel,modes"}
    alone = evaluate(str(tmp_path / "run"), asked, workers=0)
    shared = evaluate(str(tmp_path / "run"), asked, workers=2, address=cluster)
    assert shared.card == alone.card
    for name, value in alone.values.items():
        assert shared.values[name].value == pytest.approx(value.value, rel=1e-10, abs=1e-10), name
    assert len(evaluation.read(Storage(tmp_path / "run"))) == 1


def test_colours_are_seen_by_efficientnet() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    extractor = EXTRACTORS["efficientnet"]()
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=draw, dtype=torch.uint8)
    found = extractor(images)
    assert found.features.shape == (3, extractor.size)
    assert found.probabilities is not None
    assert found.probabilities.shape == (3, 1_000)
    torch.testing.assert_close(extractor(images[:1]).features, found.features[:1])
