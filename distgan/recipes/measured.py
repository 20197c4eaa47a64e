"""What recipes came to where they were measured: speed and quality, for `distgan recipes`.

Each figure stands in a table that is named here and says how it was measured. Whoever changes a
recipe's settings takes its entries out, or measures again: a recipe without an entry was not
measured.
"""

from __future__ import annotations

from dataclasses import dataclass

SPEED_DATE, SPEED_SOURCE = "2026-11-26 to 2026-11-30", "benchmarks/README.md#step"

SPEED = {
    "mnist-mlp": 6_250,
    "mnist-mlp-tutorial": 10_028,
    "mnist-dcgan": 1_651,
    "mnist-speedrun": 4_832,
    "cifar10-dcgan": 669,
    "cifar10-dcgan-tiny": 4_183,
    "cifar10-sngan": 50.9,
    "cifar10-sngan-tiny": 1_119,
}
"""Images/s of the step in one process on two cores of an AMD EPYC, by recipe; of mnist-mlp those of
a whole run on Ray, on two cores of an Intel Xeon."""

QUALITY_DATE = "2026-11-25 to 2026-11-30"
QUALITY_SOURCE = "benchmarks/results/README.md#quality-of-the-recipes"


@dataclass(frozen=True)
class Quality:
    """Frechet distance to the training images, by the extractor of their set; lower is better.

    ``spread`` is the standard deviation over three seeds or more, ``images`` how many images each
    generator was trained on.
    """

    frechet: float
    spread: float
    images: int


QUALITY = {
    "mnist-mlp": Quality(2.27, 0.18, 250_000),
    "mnist-mlp-tutorial": Quality(74.5, 8.2, 300_000),
    "mnist-dcgan": Quality(16.0, 0.4, 100_000),
}
"""By recipe."""
