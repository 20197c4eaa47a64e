"""How near images come to the ones that they should be, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
"""Side of SSIM's Gaussian window and its standard deviation, in pixels."""
K1, K2 = 0.01, 0.03
"""SSIM's constants, for pixels that span 1."""
BEST_PSNR = 100.0
"""Decibels of equal images, whose ratio is infinite."""


def l1(made: Tensor, targets: Tensor) -> Tensor:
    """The mean absolute difference of each image: float (n, c, h, w) twice -> (n,)."""
    return (made - targets).abs().mean((1, 2, 3))


def psnr(made: Tensor, targets: Tensor) -> Tensor:
    """The peak signal-to-noise ratio of each image, -10 log10 of the mean squared difference.

    Equal images, and those beyond, count as `BEST_PSNR`.

    Args:
        made: float (n, c, h, w), pixels in [0, 1]; like ``targets``.

    Returns:
        decibels, (n,).
    """
    error = (made - targets).square().mean((1, 2, 3))
    return (-10 * error.log10()).clamp_max(BEST_PSNR)


def ssim(made: Tensor, targets: Tensor) -> Tensor:
    """The structural similarity of each image, the mean over channels and windows.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (2004):
    equation 13 with alpha = beta = gamma = 1, a Gaussian window of 11x11 pixels and a standard
    deviation of 1.5 whose weights add up to 1, and only windows that lie within the image.

    Args:
        made: float (n, c, h, w), pixels in [0, 1]; like ``targets``.

    Returns:
        from -1 to 1, 1 for equal images, (n,).

    Raises:
        ValueError: for images that are smaller than the window.
    """
    if min(made.shape[2:]) < WINDOW:
        raise ValueError(f"a window of {WINDOW}x{WINDOW} does not fit {tuple(made.shape[2:])}")
    x, y = (images.flatten(0, 1).unsqueeze(1) for images in (made, targets))
    mean_x, mean_y, squares_x, squares_y, products = (
        _blurred(images) for images in (x, y, x * x, y * y, x * y)
    )
    variances = squares_x - mean_x.square() + squares_y - mean_y.square()
    covariance = products - mean_x * mean_y
    means = (2 * mean_x * mean_y + K1**2) / (mean_x.square() + mean_y.square() + K1**2)
    found = means * (2 * covariance + K2**2) / (variances + K2**2)
    return found.mean((1, 2, 3)).view(made.shape[:2]).mean(1)


def _blurred(images: Tensor) -> Tensor:
    """Weighted means over the windows: (n, 1, h, w) -> (n, 1, h - 10, w - 10)."""
    places = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * SIGMA**2))
    shares: list[float] = (weights / weights.sum()).tolist()
    # Sums of shifted images, as convolutions in float64 take several times as long on a CPU.
    for side in (2, 3):
        length = images.shape[side] - WINDOW + 1
        parts = (share * images.narrow(side, at, length) for at, share in enumerate(shares))
        images = sum(parts, torch.zeros((), dtype=images.dtype, device=images.device))
    return images


def feature_distance(made: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The distance of two images in a network's features.

    At every place features are divided by their length; what counts is the squared difference of
    these directions, its mean over places, and the sum over stages. It is the formula of Zhang et
    al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018), equation
    1, with all weights 1, so that values are none of LPIPS.

    Args:
        made: of each stage float (n, c, h, w), or (n, d) where there are no places; like
            ``targets``.

    Returns:
        from 0 for equal features up to 4 for each stage, (n,).
    """
    stages = [
        (_direction(x) - _direction(y)).square().sum(1).flatten(1).mean(1)
        for x, y in zip(made, targets, strict=True)
    ]
    return torch.stack(stages).sum(0)


def _direction(features: Tensor) -> Tensor:
    features = features.flatten(2) if features.dim() > 2 else features.unsqueeze(2)
    # Where a network sees nothing there is no direction, and no difference of two such places.
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / lengths.clamp_min(1e-10)
