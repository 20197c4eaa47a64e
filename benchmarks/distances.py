"""How long the Frechet distance takes, beside scipy's matrix root, interleaved.

pip install scipy
python -m benchmarks.distances
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from distgan.metrics.frechet import frechet_distance
from distgan.metrics.moments import Moments


def _with_scipy(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    # As pytorch-fid and torch-fidelity do it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = sqrtm((cov1 @ cov2).numpy())
    gap = (mean1 - mean2).square().sum().item()
    return float(gap + (cov1.trace() + cov2.trace()).item() - 2 * np.trace(root.real))


def _gaussians(size: int, count: int) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(0)
    found = []
    for shift in (0.0, 0.1):
        mixed = torch.randn(size, size, generator=draw) / size**0.5
        moments = Moments(size)
        moments.add(torch.randn(count, size, generator=draw) @ mixed + shift)
        found += [moments.mean, moments.covariance]
    return tuple(found)


def main() -> None:
    """Time both, in turns, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each [5]")
    options = parser.parse_args()
    sides: dict[str, Callable[..., float]] = {"distgan": frechet_distance, "scipy": _with_scipy}
    for size, count in ((64, 10_000), (2_048, 10_000)):
        gaussians = _gaussians(size, count)
        taken: dict[str, list[float]] = {name: [] for name in sides}
        values = {}
        for _ in range(options.turns):
            for name, function in sides.items():
                start = time.perf_counter()
                values[name] = function(*gaussians)
                taken[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(found) for name, found in taken.items()}
        ratio = medians["scipy"] / medians["distgan"]
        apart = abs(values["scipy"] / values["distgan"] - 1)
        print(
            f"{size:>5} features: distgan {medians['distgan'] * 1e3:,.1f} ms, "
            f"scipy {medians['scipy'] * 1e3:,.1f} ms ({ratio:.1f} times), "
            f"values {apart:.1e} apart"
        )


if __name__ == "__main__":
    main()
