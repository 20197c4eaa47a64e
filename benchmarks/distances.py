"""How long the Frechet distance takes, beside scipy's matrix root and torch-fidelity, interleaved.

pip install scipy 'distgan[inception]'
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
    # As pytorch-fid does it.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = sqrtm((cov1 @ cov2).numpy())
    gap = (mean1 - mean2).square().sum().item()
    return float(gap + (cov1.trace() + cov2.trace()).item() - 2 * np.trace(root.real))


def _with_torch_fidelity(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    one = {"mu": mean1.numpy(), "sigma": cov1.numpy()}
    other = {"mu": mean2.numpy(), "sigma": cov2.numpy()}
    return float(fid_statistics_to_metric(one, other, verbose=False)[KEY_METRIC_FID])


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
    try:
        import torch_fidelity  # noqa: F401

        sides["torch-fidelity"] = _with_torch_fidelity
    except ImportError as error:
        print(f"without torch-fidelity, which cannot be imported: {error}")
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
        print(f"{size:>5} features, {count:,} images a side")
        for name, seconds in medians.items():
            ratio, apart = seconds / medians["distgan"], abs(values[name] / values["distgan"] - 1)
            print(f"  {name:<15} {seconds * 1e3:10,.1f} ms  {ratio:6.1f} times  {apart:.1e} apart")


if __name__ == "__main__":
    main()
