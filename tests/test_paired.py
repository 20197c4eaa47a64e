"""Metrics of pairs beside straight loops in float64, and values known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from distgan.metrics import paired


def pair(count: int = 3, shape: tuple[int, int, int] = (3, 17, 14)) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(1)
    targets = torch.rand(count, *shape, generator=draw, dtype=torch.float64)
    noise = torch.rand(count, *shape, generator=draw, dtype=torch.float64)
    return (0.7 * targets + 0.3 * noise).clamp(0, 1), targets


def test_l1_and_psnr_are_means_over_the_values_of_an_image() -> None:
    made, targets = pair()
    for n, (x, y) in enumerate(zip(made.numpy(), targets.numpy(), strict=True)):
        apart = [abs(a - b) for a, b in zip(x.ravel(), y.ravel(), strict=True)]
        assert paired.l1(made, targets)[n].item() == pytest.approx(math.fsum(apart) / len(apart))
        error = math.fsum(a * a for a in apart) / len(apart)
        found = paired.psnr(made, targets)[n].item()
        assert found == pytest.approx(20 * math.log10(1 / math.sqrt(error)))


def test_a_constant_difference_has_known_values() -> None:
    targets = torch.full((1, 1, 12, 12), 0.5, dtype=torch.float64)
    assert paired.psnr(targets + 0.1, targets).item() == pytest.approx(20)
    # Without variance only the means differ: (2 ab + C1) / (a^2 + b^2 + C1).
    expected = (2 * 0.6 * 0.5 + 1e-4) / (0.36 + 0.25 + 1e-4)
    assert paired.ssim(targets + 0.1, targets).item() == pytest.approx(expected, rel=1e-9)
    assert paired.psnr(targets, targets).item() == paired.BEST_PSNR
    assert paired.ssim(targets, targets).item() == pytest.approx(1)


def looped(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """SSIM of one channel as the paper defines it, window by window."""
    weights = np.array(
        [[math.exp(-(i * i + j * j) / (2 * 1.5**2)) for j in range(-5, 6)] for i in range(-5, 6)]
    )
    weights /= weights.sum()
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = (z[top : top + 11, left : left + 11] for z in (x, y))
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a = (weights * (a - mean_a) ** 2).sum()
            var_b = (weights * (b - mean_b) ** 2).sum()
            both = (weights * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = 0.01**2, 0.03**2
            found.append(
                (2 * mean_a * mean_b + c1)
                * (2 * both + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
            )
    return float(np.mean(found))


def test_ssim_is_that_of_a_loop_over_windows() -> None:
    made, targets = pair()
    found = paired.ssim(made, targets)
    for n, (x, y) in enumerate(zip(made.numpy(), targets.numpy(), strict=True)):
        channels = [looped(a, b) for a, b in zip(x, y, strict=True)]
        assert found[n].item() == pytest.approx(np.mean(channels), abs=1e-12)


def test_ssim_is_that_of_scipys_filter() -> None:
    made, targets = pair(1, (1, 20, 31))
    x, y = made[0, 0].numpy(), targets[0, 0].numpy()

    def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = gaussian_filter(values, 1.5, radius=5)[5:-5, 5:-5]
        return found

    a, b = blurred(x), blurred(y)
    var_a, var_b = blurred(x * x) - a * a, blurred(y * y) - b * b
    both = blurred(x * y) - a * b
    shares = (2 * a * b + 1e-4) * (2 * both + 9e-4)
    shares /= (a * a + b * b + 1e-4) * (var_a + var_b + 9e-4)
    assert paired.ssim(made, targets).item() == pytest.approx(shares.mean(), abs=1e-10)


def test_ssim_wants_a_whole_window() -> None:
    small = torch.zeros(1, 1, 10, 20)
    with pytest.raises(ValueError, match="11x11 does not fit"):
        paired.ssim(small, small)


def test_feature_distance_is_a_sum_over_stages_of_means_over_places() -> None:
    draw = torch.Generator().manual_seed(2)
    shapes = ((2, 4, 3, 5), (2, 6))
    made, targets = (
        [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]
        for _ in range(2)
    )
    found = paired.feature_distance(made, targets)
    for n in range(2):
        expected = 0.0
        for x, y in zip(made, targets, strict=True):
            # Of features without places there is one.
            a, b = (z[n].reshape(z.shape[1], -1).numpy() for z in (x, y))
            places = [
                sum((p / np.linalg.norm(p) - q / np.linalg.norm(q)) ** 2)
                for p, q in zip(a.T, b.T, strict=True)
            ]
            expected += sum(places) / len(places)
        assert found[n].item() == pytest.approx(expected)


def test_places_without_features_are_no_distance_apart() -> None:
    nothing, one = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    assert paired.feature_distance([nothing], [nothing]).item() == 0
    assert paired.feature_distance([one], [3 * one]).item() == pytest.approx(0, abs=1e-6)
    assert paired.feature_distance([one], [-one]).item() == pytest.approx(4)
