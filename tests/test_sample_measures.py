"""Measures on pixels, classes and neighbours, against definitions in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy, wasserstein_distance

from distgan.metrics.classes import classifier_score, mode_coverage
from distgan.metrics.frechet import frechet_distance
from distgan.metrics.intra import intra_class
from distgan.metrics.manifold import NEIGHBOURS, manifold
from distgan.metrics.neighbours import memorisation, nearest
from distgan.metrics.sliced import sliced_wasserstein

DRAW = np.random.default_rng(0)


def test_sliced_wasserstein_is_scipys_along_each_direction() -> None:
    # In one dimension every direction of length 1 is that dimension.
    one, other = DRAW.normal(size=500), DRAW.exponential(size=500)
    found = sliced_wasserstein(torch.from_numpy(one)[:, None], torch.from_numpy(other)[:, None])
    assert found == pytest.approx(wasserstein_distance(one, other), rel=1e-5)


def test_sliced_wasserstein_of_brighter_pictures() -> None:
    images = torch.from_numpy(DRAW.normal(size=(200, 3, 16, 16)))
    found = sliced_wasserstein(images, images + 0.5, directions=4_000)
    assert found == pytest.approx(0.5 * math.sqrt(2 / math.pi), rel=0.05)
    assert sliced_wasserstein(images, images[torch.randperm(200)]) == pytest.approx(0, abs=1e-6)


def test_classifier_score_against_scipys_divergence() -> None:
    probabilities = DRAW.dirichlet(np.ones(10) / 5, size=1_000)
    order = torch.randperm(1_000, generator=torch.Generator().manual_seed(7)).numpy()
    parts = np.split(probabilities[order], 5)
    expected = [np.exp(np.mean([entropy(row, part.mean(0)) for row in part])) for part in parts]
    found = classifier_score(torch.from_numpy(probabilities), splits=5, seed=7)
    assert found.value == pytest.approx(np.mean(expected), rel=1e-9)
    assert found.error == pytest.approx(np.std(expected, ddof=1), rel=1e-9)
    certain = torch.eye(10).repeat(10, 1)
    assert classifier_score(certain, splits=1).value == pytest.approx(10)
    assert classifier_score(torch.full((50, 10), 0.1)).value == pytest.approx(1)


def test_mode_coverage_against_scipys_divergence() -> None:
    real, fake = torch.tensor([100, 100, 100, 100]), torch.tensor([60, 30, 10, 0])
    found = mode_coverage(fake, real)
    assert found.histogram == (0.6, 0.3, 0.1, 0.0)
    assert found.entropy == pytest.approx(entropy([60, 30, 10, 0]) / math.log(4), rel=1e-14)
    even = torch.full((10,), 7)
    assert mode_coverage(even, even).entropy == pytest.approx(1, rel=1e-14)
    assert found.divergence == pytest.approx(entropy([60, 30, 10, 0], [1, 1, 1, 1]))
    assert found.missing == 1
    assert found.found == 3
    uniform = entropy([60, 30, 10, 0], [1, 1, 1, 1])
    assert found.from_uniform == pytest.approx(uniform, rel=1e-12)
    assert mode_coverage(real, real)[1:] == pytest.approx((1.0, 0, 0.0, 4, 0.0))


def test_neighbours_against_all_distances() -> None:
    training, fake = DRAW.normal(size=(60, 5)), DRAW.normal(size=(2_500, 5))
    apart = np.linalg.norm(fake[:, None] - training, axis=2)
    found = nearest(torch.from_numpy(training), torch.from_numpy(fake))
    np.testing.assert_array_equal(found.row, apart.argmin(1))
    np.testing.assert_allclose(found.distance, apart.min(1), rtol=1e-12)


def test_copies_are_told_from_new_samples() -> None:
    training, held_out, new = (torch.from_numpy(DRAW.normal(size=(400, 8))) for _ in range(3))
    copies = training[:200] + 1e-3 * torch.from_numpy(DRAW.normal(size=(200, 8)))
    honest, copied = (memorisation(training, held_out, fake) for fake in (new, copies))
    assert copied.copied == 1
    assert copied.ratio < 0.01
    assert honest.copied < 0.8
    assert honest.ratio == pytest.approx(1, abs=0.1)
    # By the definition, one by one.
    apart = torch.cdist(new, training)
    within = torch.cdist(training, training) + 1e9 * torch.eye(400)
    own = within.min(1).values[apart.argmin(1)]
    assert honest.copied == pytest.approx((apart.min(1).values < own).double().mean().item())


def test_copies_of_one_image_are_in_balls_of_no_size() -> None:
    # Seven copies of each real, and fakes at the same points: within a ball that has no radius.
    real = torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).repeat(7, 1)
    found = manifold(real, real[:20])
    assert found == pytest.approx((1, 1, 7 / NEIGHBOURS, 1))


def test_without_held_out_images_training_images_are_left_out_in_turn() -> None:
    training, new = (torch.from_numpy(DRAW.normal(size=(400, 8))) for _ in range(2))
    within = torch.cdist(training, training) + 1e9 * torch.eye(400)
    usual = np.median(within.min(1).values.numpy())
    found = memorisation(training, None, new)
    expected = np.median(torch.cdist(new, training).min(1).values.numpy()) / usual
    assert found.ratio == pytest.approx(expected)


def test_intra_class_distances_are_those_of_numpys_moments_class_by_class() -> None:
    real, fake = DRAW.normal(size=(300, 4)), DRAW.normal(size=(200, 4))
    # One class is off by 3 along one axis, which the whole hardly shows.
    labels, made = np.arange(300) % 3, np.arange(200) % 3
    fake[made == 2, 0] += 3
    expected = []
    for label in range(3):
        sides = []
        for features, of in ((real, labels), (fake, made)):
            own = features[of == label]
            sides += [torch.from_numpy(own.mean(0)), torch.from_numpy(np.cov(own, rowvar=False))]
        expected.append(frechet_distance(*sides))
    found = intra_class(*(torch.from_numpy(array) for array in (real, labels, fake, made)))
    assert found.mean == pytest.approx(np.mean(expected), rel=1e-9)
    assert found.worst == pytest.approx(max(expected), rel=1e-9)
    assert (found.worst_class, found.compared) == (2, 3)
