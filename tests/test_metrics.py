"""Metrics against closed forms and definitions written out in numpy."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from distgan.metrics.frechet import distance, frechet_distance
from distgan.metrics.kernel import kernel_distance, squared_mmd
from distgan.metrics.manifold import manifold
from distgan.metrics.moments import Moments
from distgan.parallel import World

from . import ranks


def features(count: int, size: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draw, dtype=torch.float64) + shift


def test_frechet_of_gaussians_whose_covariances_commute() -> None:
    # With diagonal covariances the distance is that of independent numbers, one by one:
    # (m1 - m2)^2 + (s1 - s2)^2, Dowson and Landau 1982.
    draw = np.random.default_rng(0)
    m1, m2, s1, s2 = draw.uniform(0.1, 3, (4, 20))
    rotation = np.linalg.qr(draw.normal(size=(20, 20)))[0]
    cov1, cov2 = (rotation * s**2 @ rotation.T for s in (s1, s2))
    arguments = [torch.from_numpy(a) for a in (rotation @ m1, cov1, rotation @ m2, cov2)]
    expected = ((m1 - m2) ** 2 + (s1 - s2) ** 2).sum()
    assert frechet_distance(*arguments) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("count", [500, 20])
def test_frechet_against_eigenvalues_of_the_product(count: int) -> None:
    # 20 samples of 30 features: covariances of rank 19.
    x = features(count, 30, 1).numpy()
    y = features(count, 30, 2, 0.5).numpy() * np.linspace(0.2, 2, 30)
    cov1, cov2 = np.cov(x.T), np.cov(y.T)
    cross = np.sqrt(np.linalg.eigvals(cov1 @ cov2).astype(complex)).real.sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov1 + cov2) - 2 * cross
    one, other = Moments(30), Moments(30)
    for moments, rows in ((one, x), (other, y)):
        for part in np.array_split(rows, 3):
            moments.add(torch.from_numpy(part))
    assert distance(one, other) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_frechet_against_scipys_matrix_root() -> None:
    x, y = features(600, 20, 1).numpy(), features(700, 20, 2, 0.3).numpy() ** 2
    cov1, cov2 = np.cov(x.T), np.cov(y.T)
    root = sqrtm(cov1 @ cov2).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov1 + cov2 - 2 * root)
    means = (torch.from_numpy(rows.mean(0)) for rows in (x, y))
    covariances = (torch.from_numpy(c) for c in (cov1, cov2))
    one, other = zip(means, covariances, strict=True)
    assert frechet_distance(*one, *other) == pytest.approx(expected, rel=1e-9)


def test_moments_keep_their_digits_far_from_zero() -> None:
    x = features(1_000, 4, 0) + 1e5
    expected = np.cov((x - 1e5).numpy().T)
    whole = Moments.merged([Moments.of(part) for part in x.split(130)])
    again = Moments.from_tensor(4, whole.to_tensor())
    for part in x.split(70):
        again.add(part)
    for moments, times in ((Moments.of(x), 1), (whole, 1), (again, 2)):
        assert moments.count == times * 1_000
        np.testing.assert_allclose(moments.mean, x.mean(0), rtol=1e-15)
        # Sums about zero have errors of 1e-6 here.
        scatter = (moments.covariance * (moments.count - 1)).numpy()
        np.testing.assert_allclose(scatter / (times * 999), expected, atol=1e-9)


def _reduced(world: World) -> tuple[torch.Tensor, torch.Tensor]:
    moments, rows = Moments(8), features(101, 8, 3)
    moments.add(rows[world.share(101)])
    moments.reduce(world)
    return moments.mean, moments.covariance


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.slow
def test_moments_do_not_depend_on_the_number_of_ranks(tmp_path: Path, size: int) -> None:
    rows = features(101, 8, 3).numpy()
    for mean, covariance in ranks.on_ranks(size, _reduced, tmp_path):
        np.testing.assert_allclose(mean.numpy(), rows.mean(0), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(covariance.numpy(), np.cov(rows.T), rtol=1e-10, atol=1e-12)


def test_kernel_distance_against_a_double_loop() -> None:
    x, y = features(12, 5, 1).numpy(), features(9, 5, 2, 0.3).numpy()

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (a @ b / 5 + 1) ** 3

    def mean(pairs: list[float]) -> float:
        return sum(pairs) / len(pairs)

    expected = mean([kernel(x[i], x[j]) for i in range(12) for j in range(12) if i != j])
    expected += mean([kernel(y[i], y[j]) for i in range(9) for j in range(9) if i != j])
    expected -= 2 * mean([kernel(a, b) for a in x for b in y])
    found = squared_mmd(torch.from_numpy(x), torch.from_numpy(y))
    assert found == pytest.approx(expected, rel=1e-12)


def test_kernel_distance_is_unbiased_and_its_error_honest() -> None:
    same = kernel_distance(features(4_000, 4, 1), features(4_000, 4, 2), subsets=50, size=200)
    assert abs(same.value) < 4 * same.error
    other = kernel_distance(features(4_000, 4, 1), features(4_000, 4, 2, 0.5), subsets=50, size=200)
    assert other.value > 10 * other.error


@pytest.mark.parametrize("count", [100, 400, 4_000])
def test_the_error_of_the_kernel_distance_is_that_of_other_images(count: int) -> None:
    found = [
        kernel_distance(
            features(count, 4, 2 * n), features(count, 4, 2 * n + 1, 0.5), subsets=20, size=200
        )
        for n in range(60)
    ]
    spread = statistics.stdev(one.value for one in found)
    claimed = statistics.fmean(one.error for one in found)
    assert 0.7 < claimed / spread < 1.5


def test_manifold_measures_against_their_definitions() -> None:
    real, fake, k = features(60, 3, 1).numpy(), features(45, 3, 2, 0.7).numpy(), 4

    def radius(rows: np.ndarray, index: int) -> float:
        others = np.delete(rows, index, 0)
        return float(np.sort(np.linalg.norm(others - rows[index], axis=1))[k - 1])

    real_radii = [radius(real, i) for i in range(60)]
    fake_radii = [radius(fake, j) for j in range(45)]
    apart = np.linalg.norm(real[:, None] - fake[None], axis=2)
    inside = apart <= np.array(real_radii)[:, None]
    found = manifold(torch.from_numpy(real), torch.from_numpy(fake), k)
    assert found.precision == pytest.approx(inside.any(0).mean())
    assert found.recall == pytest.approx((apart <= np.array(fake_radii)).any(1).mean())
    assert found.density == pytest.approx(inside.sum() / (k * 45))
    assert found.coverage == pytest.approx(inside.any(1).mean())


def test_copies_are_precise_and_one_mode_is_not_all() -> None:
    real = torch.cat([features(200, 2, 1), features(200, 2, 2, 20.0)])
    copies = manifold(real, real + 1e-9)
    assert copies.precision == copies.recall == copies.coverage == 1.0
    half = manifold(real, features(400, 2, 3))
    assert half.precision > 0.9
    assert half.recall < 0.6
    assert half.coverage < 0.55


def test_frechet_and_kernel_are_torch_fidelitys() -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid", exc_type=ImportError)
    kid = pytest.importorskip("torch_fidelity.metric_kid", exc_type=ImportError)
    one, other = features(300, 12, 0), features(300, 12, 1, shift=0.3)
    sides = [fid.fid_features_to_statistics(part) for part in (one, other)]
    expected = fid.fid_statistics_to_metric(*sides, verbose=False)[fid.KEY_METRIC_FID]
    mine = []
    for part in (one, other):
        moments = Moments(12)
        moments.add(part)
        mine.append(moments)
    assert distance(*mine) == pytest.approx(expected, rel=1e-9)
    # One subset, of all of them.
    found = kid.kid_features_to_metric(
        one, other, kid_subsets=1, kid_subset_size=300, verbose=False
    )
    assert squared_mmd(one, other) == pytest.approx(found[kid.KEY_METRIC_KID_MEAN], rel=1e-9)
