"""How often does a 95% interval hold what it is of? A table in Markdown.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --runs 100 --images 200 1000

Every run draws new real and new generated images, as features, and measures them. What an interval
is of: for `frechet` and `classifier-score`, which depend on the number of images, the mean over all
runs; for `frechet-infinity` and `kernel` the distance of the distributions.

Features are 16 correlated normal numbers of which the negative ones are 0; those of generated
images are shifted by up to 0.5, or are drawn like the real ones. Of a conditional generator there
are 250 classes, each with a centre of its own, and generated images of given labels.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.labels import by_shares
from distgan.evaluate.measures import MEASURES, Value, interval, reconstruction_frechet
from distgan.metrics import frechet
from distgan.metrics.moments import Moments
from distgan.metrics.student import Spread
from distgan.tune import welch

_SIZE, _CLASSES, _SHIFT = 16, 250, 0.5
_IMAGES = (200, 1_000, 5_000)
_MANY = 2_000_000


class Found(NamedTuple):
    """Of how many runs the interval held the truth, and the standard error of that share."""

    share: float
    error: float


@dataclass(frozen=True)
class Case:
    """An interval to be looked at.

    ``measure`` maps a number of images and a generator of random numbers to a value. ``truth`` is
    what it is of; None is the mean over the runs. ``conservative``: it is known to hold the truth
    more often than it says. ``share``: of the runs, for cases that take long.
    """

    name: str
    measure: Callable[[int, Generator], Value]
    truth: Callable[[], float] | None = None
    conservative: bool = False
    share: float = 1.0


def _features(count: int, draw: Generator, shift: float = 0.0) -> Tensor:
    mixing = torch.randn(_SIZE, _SIZE, generator=torch.Generator().manual_seed(1)) / _SIZE**0.5
    numbers = torch.randn(count, _SIZE, generator=draw) @ mixing
    return torch.relu(numbers + 0.3 + shift * torch.linspace(0, 1, _SIZE)).double()


def _seen(features: Tensor, labels: Tensor | None = None) -> FeatureStatistics:
    pixels = torch.zeros(1, 1, 1, 1)
    return FeatureStatistics(Moments.of(features), features, None, None, pixels, labels)


def _measured(metric: str, shift: float) -> Callable[[int, Generator], Value]:
    def measure(count: int, draw: Generator) -> Value:
        real, fake = _features(count, draw), _features(count, draw, shift)
        return MEASURES[metric](
            _seen(real), _seen(fake), int(torch.randint(2**31, (), generator=draw))
        )[metric]

    return measure


@functools.cache
def _distance(shift: float) -> float:
    draw = torch.Generator().manual_seed(2)
    return frechet.distance(
        Moments.of(_features(_MANY, draw)), Moments.of(_features(_MANY, draw, shift))
    )


def _conditional(count: int, draw: Generator) -> Value:
    centres = torch.randn(_CLASSES, _SIZE, generator=torch.Generator().manual_seed(3))
    given = by_shares(np.ones(_CLASSES, np.int64), count)
    drawn = torch.randint(_CLASSES, (count,), generator=draw)
    noise = torch.randn(2, count, _SIZE, generator=draw)
    real, fake = centres[drawn] + noise[0], centres[given] + 0.7 * noise[1]
    return MEASURES["frechet"](_seen(real.double()), _seen(fake.double(), given), 0)["frechet"]


def _reconstructions(count: int, draw: Generator) -> Value:
    images = _features(count, draw)
    noise = 0.3 * torch.randn(count, _SIZE, generator=draw)
    return reconstruction_frechet(_seen(images), _seen(0.8 * images + noise))


def _score(count: int, draw: Generator) -> Value:
    logits = 2 * torch.randn(count, 10, generator=draw)
    seen = FeatureStatistics(Moments(1), logits, logits.softmax(1), None, logits)
    return MEASURES["classifier-score"](seen, seen, 0)["classifier-score"]


def _mean(count: int, draw: Generator) -> Value:
    """As of bounds of likelihoods: one number an image, of a skewed distribution."""
    numbers = (0.5 * torch.randn(count, generator=draw)).exp().double()
    error = numbers.std().item() / count**0.5
    return interval(numbers.mean().item(), Spread(error, count - 1))


CASES = (
    Case("`frechet`", _measured("frechet", _SHIFT)),
    Case("`frechet`, the same distribution", _measured("frechet", 0.0), conservative=True),
    Case("`frechet`, conditional", _conditional, conservative=True),
    Case("`reconstruction-frechet`", _reconstructions),
    Case(
        "`frechet-infinity`",
        _measured("frechet-infinity", _SHIFT),
        lambda: _distance(_SHIFT),
        share=0.4,
    ),
    Case(
        "`frechet-infinity`, the same distribution",
        _measured("frechet-infinity", 0.0),
        lambda: 0.0,
        conservative=True,
        share=0.4,
    ),
    Case("`kernel`", _measured("kernel", _SHIFT), conservative=True, share=0.2),
    Case(
        "`kernel`, the same distribution",
        _measured("kernel", 0.0),
        lambda: 0.0,
        conservative=True,
        share=0.2,
    ),
    Case("`classifier-score`", _score),
    Case("`elbo`, `iwae` and other means", _mean, lambda: math.exp(0.125)),
)


def simulated(case: Case, images: int, runs: int) -> Found:
    """The share of runs whose interval holds what it is of."""
    draw = torch.Generator().manual_seed(0)
    found = [case.measure(images, draw) for _ in range(runs)]
    truth = case.truth() if case.truth else sum(value.value for value in found) / runs
    held = sum(v.low is not None and v.high is not None and v.low <= truth <= v.high for v in found)
    share = held / runs
    return Found(share, (max(share * (1 - share), 1 / runs) / runs) ** 0.5)


def welchs(seeds: int, comparisons: int, ratio: float, runs: int) -> Found:
    """Of normal values of as many seeds, one side's spread ``ratio`` times the recipe's: the share
    of runs in which all intervals hold their difference."""
    numbers = np.random.default_rng(0)
    held = 0
    for _ in range(runs):
        recipe = numbers.normal(size=seeds)
        found = [
            welch.interval(numbers.normal(scale=ratio, size=seeds), recipe, comparisons)
            for _ in range(comparisons)
        ]
        held += all(bounds is not None and bounds[0] <= 0 <= bounds[1] for bounds in found)
    share = held / runs
    return Found(share, (share * (1 - share) / runs) ** 0.5)


def _text(found: Found) -> str:
    return f"{100 * found.share:.1f} ± {100 * found.error:.1f}"


def main() -> None:
    """Simulate every case, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=400, help="of the quick cases [400]")
    parser.add_argument("--images", type=int, nargs="+", default=_IMAGES, metavar="N")
    options = parser.parse_args()
    print("| interval, % of runs | " + " | ".join(f"{n:,} images" for n in options.images) + " |")
    print("|---" * (len(options.images) + 1) + "|")
    for case in CASES:
        cells = [
            _text(simulated(case, images, math.ceil(case.share * options.runs)))
            for images in options.images
        ]
        print(f"| {case.name} | " + " | ".join(cells) + " |", flush=True)
    print("\n| Welch, % of runs | 3 seeds | 5 seeds | 10 seeds |\n|---|---|---|---|")
    for comparisons, ratio in ((1, 1.0), (1, 10.0), (3, 1.0)):
        cells = [_text(welchs(seeds, comparisons, ratio, options.runs)) for seeds in (3, 5, 10)]
        name = f"{comparisons} candidate{'s' * (comparisons > 1)}, spread {ratio:g} times"
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
