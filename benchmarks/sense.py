"""Do the metrics move as images get worse? A table in Markdown.

    distgan data prepare mnist --split test --out mnist-test
    python -m benchmarks.sense --test mnist-test

Each row is measured against 5,000 training digits through the packaged classifier: 5,000 test
digits as they are, then damaged or incomplete.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from distgan.data.fragments import read_resident
from distgan.data.images import open_images
from distgan.evaluate.extraction import extract_all_ranks
from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.evaluate.measures import MEASURES, WANT_TRAINING, Value
from distgan.features import EXTRACTORS
from distgan.parallel import World

_COUNT = 5_000
_COLUMNS = (
    *("frechet", "kernel", "precision", "recall", "density", "coverage", "sliced"),
    *("classifier-score", "class-entropy", "missing-classes"),
)


def _load(data: str) -> tuple[Tensor, Tensor]:
    pixels = read_resident(open_images(data))
    assert pixels.labels is not None
    images = torch.from_numpy(pixels.images).permute(0, 3, 1, 2)
    return images, torch.from_numpy(pixels.labels)


def _noisy(images: Tensor, share: float) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, images.shape, generator=draw, dtype=torch.uint8)
    return torch.where(torch.rand(images.shape, generator=draw) < share, noise, images)


def _blurred(images: Tensor) -> Tensor:
    kernel = torch.full((1, 1, 3, 3), 1 / 9)
    return conv2d(images.float(), kernel, padding=1).round().byte()


def main() -> None:
    """Measure every row and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", required=True, help="MNIST's test images, prepared")
    options = parser.parse_args()
    classifier = EXTRACTORS["mnist"]()

    def see(images: Tensor) -> FeatureStatistics:
        return extract_all_ranks(
            lambda n: images[n.start : n.stop], len(images), classifier, World()
        )

    real = see(_load("mnist")[0][:_COUNT])
    images, labels = _load(options.test)
    halves, names = images[:_COUNT], labels[:_COUNT]
    rows = {
        "test digits": halves,
        "1% of pixels noise": _noisy(halves, 0.01),
        "5% of pixels noise": _noisy(halves, 0.05),
        "10% of pixels noise": _noisy(halves, 0.1),
        "blurred, 3x3": _blurred(halves),
        "without the 3s": halves[names != 3],
        "3s only": images[labels == 3],
    }
    print("| images | " + " | ".join(_COLUMNS) + " |")
    print("|---" * (len(_COLUMNS) + 1) + "|")
    for name, fake in rows.items():
        values: dict[str, Value] = {}
        evidence = see(fake)
        for measure in (m for name, m in MEASURES.items() if name not in WANT_TRAINING):
            values |= measure(real, evidence, 0)
        cells = [f"{values[column].value:.3g}" for column in _COLUMNS]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
