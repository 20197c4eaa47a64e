"""95% intervals: Student's t, the jackknife over folds, labels by shares, and their coverage."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats
from torch import Tensor

from benchmarks import coverage
from distgan.data.images import open_images
from distgan.data.labels import class_counts
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.labels import by_shares
from distgan.evaluate.measures import MEASURES, interval, reconstruction_frechet
from distgan.metrics import frechet, jackknife, student
from distgan.metrics.classes import classifier_score
from distgan.metrics.intra import intra_class
from distgan.metrics.moments import Moments
from distgan.metrics.neighbours import memorisation
from distgan.metrics.student import Spread
from distgan.tune import welch


def evidence(features: Tensor, labels: Tensor | None = None) -> FeatureStatistics:
    return FeatureStatistics(
        Moments.of(features), features, None, None, torch.zeros(len(features), 1, 1, 1), labels
    )


def normal(count: int, size: int, seed: int, shift: float = 0.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draw, dtype=torch.float64) + shift


@pytest.mark.parametrize("freedom", [1, 1.5, 2, 3.7, 9, 18, 999, 1e5, 1e7])
@pytest.mark.parametrize("probability", [0.9, 0.975, 1 - 0.025 / 7])
def test_quantiles_are_scipys(probability: float, freedom: float) -> None:
    expected = stats.t.ppf(probability, freedom)
    assert student.quantile(probability, freedom) == pytest.approx(expected, rel=1e-6)


def test_an_interval_of_ten_folds_is_by_students_t_of_nine() -> None:
    found = interval(3.0, Spread(0.5, 9))
    expected = stats.t.interval(0.95, 9, 3.0, 0.5)
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert interval(3.0, Spread(0.0, 9)).low is None, "no spread says nothing"
    assert interval(3.0, Spread(math.nan, 9)).low is None


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    numbers = np.random.default_rng(0).normal(size=40)
    parts = np.split(numbers, [4, 8, 13, 21, 30, 34])
    without = [np.delete(numbers, np.isin(numbers, part)).mean() for part in parts]
    sizes = [len(part) for part in parts]
    found = jackknife.spread(without, numbers.mean(), sizes)
    # Of a mean, the pseudo-values are those of the folds: a weighted variance of them.
    means = np.array([part.mean() for part in parts])
    ratios = len(numbers) / np.array(sizes)
    expected = ((means - numbers.mean()) ** 2 / (ratios - 1)).mean() ** 0.5
    assert found == pytest.approx((expected, len(parts) - 1))
    even = np.split(numbers, 10)
    left = [np.delete(numbers, np.isin(numbers, part)).mean() for part in even]
    found = jackknife.spread(left, numbers.mean(), [4] * 10)
    assert found.error == pytest.approx(stats.sem([part.mean() for part in even]))


def test_folds_are_dealt_evenly_by_chance_and_within_classes() -> None:
    for count in (10, 137, 1_000):
        dealt = torch.bincount(jackknife.deal(count), minlength=10)
        assert dealt.max() - dealt.min() <= 1
    # As many folds with little in common with the order of images as with chance.
    dealt = jackknife.deal(5_000)
    for classes in (10, 100, 250, 1_000):
        labels = torch.arange(5_000) % classes
        means = [labels[dealt == fold].double().mean().item() for fold in range(10)]
        assert np.std(means) < 3 * classes / 12**0.5 / 500**0.5
        within = jackknife.deal(5_000, labels)
        counts = torch.stack(
            [torch.bincount(labels[within == f], minlength=classes) for f in range(10)]
        )
        assert counts.max() - counts.min() <= (1 if classes < 1_000 else 2)
        assert (torch.bincount(within, minlength=10) == 500).all()


def test_the_interval_of_the_frechet_distance_has_other_reals_in_it() -> None:
    # Few reals and many fakes: nearly all that chance does is done by the reals.
    values, widths = [], []
    for seed in range(25):
        real, fake = normal(100, 3, 2 * seed), normal(2_000, 3, 2 * seed + 1, 1.0)
        found = MEASURES["frechet"](evidence(real), evidence(fake), 0)["frechet"]
        assert found.low is not None
        values.append(found.value)
        widths.append(found.value - found.low)
    assert 0.6 < np.mean(widths) / (stats.t.ppf(0.975, 9) * np.std(values)) < 1.6


def test_one_interval_against_the_formulas_written_out() -> None:
    real, fake = normal(97, 3, 0), normal(120, 3, 1, 0.7)

    def distance(x: Tensor, y: Tensor) -> float:
        moments = [(m.mean(0), torch.from_numpy(np.cov(m.numpy().T))) for m in (x, y)]
        return frechet.frechet_distance(*moments[0], *moments[1])

    whole, variances = distance(real, fake), []
    for side in (real, fake):
        folds, pseudo, ratios = jackknife.deal(len(side)), [], []
        for fold in range(10):
            left = side[folds != fold]
            pair = (left, fake) if side is real else (real, left)
            h = len(side) / (folds == fold).sum().item()
            ratios.append(h)
            pseudo.append(h * whole - (h - 1) * distance(*pair))
        middle = sum(p / h for p, h in zip(pseudo, ratios, strict=True))
        terms = [(p - middle) ** 2 / (h - 1) for p, h in zip(pseudo, ratios, strict=True)]
        variances.append(np.mean(terms))
    freedom = sum(variances) ** 2 / sum(v**2 / 9 for v in variances)
    half = stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5
    found = MEASURES["frechet"](evidence(real), evidence(fake), 0)["frechet"]
    assert tuple(found) == pytest.approx((whole, whole - half, whole + half), rel=1e-9)


def test_more_images_than_have_features_narrow_the_interval() -> None:
    real, fake = evidence(normal(200, 3, 0)), evidence(normal(200, 3, 1, 1.0))
    more = [replace(side, moments=Moments.merged([side.moments] * 4)) for side in (real, fake)]
    one, other = (MEASURES["frechet"](*sides, 0)["frechet"] for sides in ((real, fake), more))
    assert one.low is not None
    assert other.low is not None
    assert other.value - other.low == pytest.approx((one.value - one.low) / 2)


def test_reconstructions_are_left_out_with_their_images() -> None:
    # A reconstruction that is its image, brighter: the distance is the same for any images.
    images = normal(400, 3, 0)
    found = reconstruction_frechet(evidence(images), evidence(images + 1))
    assert found.value == pytest.approx(3.0)
    assert found.low is None or found.low == pytest.approx(3.0, abs=1e-6)
    apart = MEASURES["frechet"](evidence(images), evidence(images + 1), 0)["frechet"]
    assert apart.low is not None
    assert apart.low < 2.8


@pytest.mark.parametrize("shift", [0.0, 0.2])
def test_the_extrapolated_distance_is_that_of_the_distributions(shift: float) -> None:
    size, plain, found = 8, [], []
    for seed in range(20):
        pair = normal(150, size, 2 * seed), normal(150, size, 2 * seed + 1, shift)
        folds = [[Moments.of(part) for part in side.split(15)] for side in pair]
        plain.append(frechet.of_folds(*folds))
        found.append(frechet.extrapolated(*folds))
    error = np.std(found) / 20**0.5
    assert np.mean(found) == pytest.approx(size * shift**2, abs=3 * error)
    assert np.mean(plain) > size * shift**2 + 5 * error


def test_the_extrapolation_is_a_line_through_means_of_parts() -> None:
    real = [Moments.of(part) for part in normal(200, 4, 0).split(20)]
    fake = [Moments.of(part) for part in normal(300, 4, 1, 0.3).split(30)]

    def without(folds: list[Moments], pair: int) -> list[Moments]:
        return folds[: 2 * pair] + folds[2 * pair + 2 :]

    distance = frechet.of_folds
    fifths = np.mean([distance(without(real, n), without(fake, n)) for n in range(5)])
    halves = np.mean([distance(real[:5], fake[:5]), distance(real[5:], fake[5:])])
    line = np.polyfit([1, 1.25, 2], [distance(real, fake), fifths, halves], 1)
    assert frechet.extrapolated(real, fake) == pytest.approx(line[1], rel=1e-9)


def test_labels_come_as_often_as_in_the_data() -> None:
    for classes in (1, 3, 10, 1_000):
        even = by_shares(np.full(classes, 7), 5_003)
        assert torch.equal(even, torch.arange(5_003) % classes), "equal shares take turns"
    counts = np.arange(1, 11)
    found = by_shares(counts, 5_500)
    assert torch.bincount(found).tolist() == (100 * counts).tolist()
    for first in (55, 137, 1_000):
        assert torch.equal(by_shares(counts, first), found[:first])
        shares = torch.bincount(found[:first], minlength=10).numpy()
        assert abs(shares - first * counts / 55).max() < 1.5
    # Nine tenths in one class, the rest in a thousand that are due a tenth of an image each.
    rare = by_shares(np.array([9_000, *[1] * 1_000]), 1_000)
    assert 880 <= (rare == 0).sum() <= 920
    assert (by_shares(np.array([0, 5, 0, 1]), 60) % 2 == 1).all()


def test_classes_are_counted_in_sets_without_a_manifest(tmp_path: Path) -> None:
    labels = np.array([0, 2, 2, 2, 1, 0])
    field = pa.field("image", pa.binary(4), metadata={b"distgan.shape": b"2,2,1"})
    schema = pa.schema([field, pa.field("label", pa.int64())])
    images = pa.array([bytes(4)] * 6, pa.binary(4))
    table = pa.Table.from_arrays([images, pa.array(labels)], schema=schema)
    pq.write_table(table, tmp_path / "a.parquet")
    assert class_counts(open_images(str(tmp_path / "a.parquet"))).tolist() == [2, 1, 3]
    assert class_counts(open_images("mnist")).sum() == 60_000


def test_the_splits_of_a_score_are_drawn_at_random() -> None:
    # A perfect generator whose classes take turns: five images of each of 1,000.
    found = classifier_score(torch.eye(1_000).repeat(5, 1))
    assert found.value < 450, "in order, each split holds half of the classes, and scores 500"
    again = classifier_score(torch.eye(1_000).repeat(5, 1))
    assert found == again
    assert classifier_score(torch.eye(1_000).repeat(5, 1), seed=1) != found
    with pytest.raises(ValueError, match="10 splits need as many images, not 9"):
        classifier_score(torch.eye(9))
    sides = [replace(evidence(torch.zeros(10, 2)), probabilities=torch.eye(5).repeat(2, 1))] * 2
    assert MEASURES["classifier-score"](*sides, 0)["classifier-score"].low is None


def test_copies_of_what_occurs_twice_are_copies() -> None:
    twice = normal(200, 16, 0).repeat_interleave(2, 0)
    assert memorisation(twice, normal(50, 16, 1), twice[:100]).copied == 1
    assert memorisation(twice, normal(50, 16, 1), normal(100, 16, 2) + 9).copied == 0


def test_medians_of_even_numbers_are_between_the_middle_two() -> None:
    training = torch.tensor([[0.0], [100.0]])
    found = memorisation(training, torch.tensor([[1.0], [103.0]]), torch.tensor([[2.0], [108.0]]))
    assert found.ratio == pytest.approx(5 / 2)


def test_classes_that_only_one_side_has() -> None:
    real, labels = normal(20, 2, 0), torch.arange(20) % 4
    with pytest.raises(ValueError, match="no class has two images on both sides"):
        intra_class(real, labels, real, labels + 4)
    assert intra_class(real, labels, real, labels + 2).compared == 2


def test_welchs_interval_of_several_comparisons_is_bonferronis() -> None:
    ours, theirs = [1.0, 1.4, 1.1, 1.2], [2.0, 2.1, 1.7]
    expected = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(1 - 0.05 / 5)
    found = welch.interval(ours, theirs, 5)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert welch.interval([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) is None
    assert welch.interval([0.0, 0.0, 0.0], [1.0, 1.0, 1.1]) is not None


def test_what_is_written_is_json_that_others_read() -> None:
    sides = evidence(normal(30, 4, 0)), evidence(normal(30, 4, 1))
    for name in ("frechet", "frechet-infinity", "kernel"):
        for value in MEASURES[name](*sides, 0).values():
            json.dumps(value._asdict(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("case", coverage.CASES, ids=lambda case: case.name)
def test_intervals_hold_what_they_say(case: coverage.Case) -> None:
    found = coverage.simulated(case, 200, 200)
    # Four standard errors of 200 draws below 95%.
    assert found.share > 0.89
    assert case.conservative or found.share < 0.99
