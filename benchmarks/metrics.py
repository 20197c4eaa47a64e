"""How long the Frechet distance takes, beside scipy's matrix root and torch-fidelity, interleaved.

pip install scipy 'distgan[inception]'
python -m benchmarks.metrics
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from benchmarks.frame import Benchmark, Comparison, InPlace, Unavailable, Values, main
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


def _measured(
    function: Callable[..., float], gaussians: tuple[Tensor, ...], seconds: float
) -> Values:
    """Of as many calls as fit, at least one: the time of each, and how far from ours it is."""
    found = 0.0
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while not taken or time.perf_counter() < until:
        start = time.perf_counter()
        found = function(*gaussians)
        taken.append(time.perf_counter() - start)
    apart = abs(found / frechet_distance(*gaussians) - 1)
    return {"ms": 1e3 * statistics.median(taken), "relative difference": apart}


def _side(function: Callable[..., float], gaussians: tuple[Tensor, ...]) -> Callable[[], InPlace]:
    return lambda: InPlace(partial(_measured, function, gaussians))


def _torch_fidelity(gaussians: tuple[Tensor, ...]) -> InPlace:
    try:
        import torch_fidelity  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise Unavailable(f"cannot be imported ({error})") from None
    return InPlace(partial(_measured, _with_torch_fidelity, gaussians))


def compare(options: argparse.Namespace) -> Iterator[Comparison]:
    """Few features and many; scipy's root takes the third power of their number."""
    count = 10_000
    for size in (64, 1_024 if options.quick else 2_048):
        gaussians = _gaussians(size, count)
        yield Comparison(
            f"Frechet distance of {size:,} features",
            "ms",
            {
                "distgan": _side(frechet_distance, gaussians),
                "scipy": _side(_with_scipy, gaussians),
                "torch-fidelity": partial(_torch_fidelity, gaussians),
            },
            about=f"{count:,} images a side; the difference is from distgan's value",
        )


BENCHMARK = Benchmark(
    "metrics",
    "how long the Frechet distance takes, beside scipy and torch-fidelity",
    compare,
    turns=5,
    seconds=1.0,
    quick=(3, 0.2),
)

if __name__ == "__main__":
    main(BENCHMARK)
