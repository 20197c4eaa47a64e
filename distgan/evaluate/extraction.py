"""Every rank extracts features of its share of the images; the results are gathered.

Images are processed in blocks of a fixed size, assigned to the ranks round-robin, so that a
block's features are the same to the last bit on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan.evaluate.feature_statistics import FeatureStatistics
from distgan.features.base import Extractor
from distgan.metrics.moments import Moments
from distgan.parallel import World

BLOCK = 100
"""Images processed at a time."""
MOST_FEATURES = 10_000
_MOST_PIXELS = 2_000


def extract_all_ranks(
    images: Callable[[range], Tensor],
    num: int,
    extractor: Extractor,
    world: World,
    labels: Tensor | None = None,
    *,
    keep_pixels: bool = True,
) -> FeatureStatistics:
    """Extract features of ``num`` images on all ranks together; all ranks must call it.

    Sums of features, in float64, cover all images; features themselves are gathered of the first
    10,000 only, and pixels of the first 2,000.

    Args:
        images: maps numbers of images to uint8 (n, c, h, w), on any device.
        labels: int64 (num,), the same on all ranks.
        keep_pixels: gather those of the first images.
    """
    moments = Moments(extractor.size)
    classes = len(extractor.classes)
    counts = torch.zeros(max(1, classes), dtype=torch.float64)
    mine: list[tuple[int, Tensor, Tensor | None, Tensor | None]] = []
    for block in range(world.rank, -(-num // BLOCK), world.size):
        first = block * BLOCK
        numbers = range(first, min(num, first + BLOCK))
        pixels = images(numbers)
        seen = extractor(pixels)
        moments.add(seen.features)
        probabilities = seen.probabilities
        if probabilities is not None and classes:
            counts += torch.bincount(probabilities.argmax(1).cpu(), minlength=classes)
        if first < MOST_FEATURES:
            kept = pixels.cpu() if keep_pixels and first < _MOST_PIXELS else None
            seen_here = None if probabilities is None else probabilities.cpu()
            mine.append((block, seen.features.cpu(), seen_here, kept))
    # With patience: one may have had more to read.
    world.meet()
    moments.reduce(world)
    counts = world.sum(counts.to(world.device)).cpu()
    blocks = sorted(
        (block for part in world.gather(mine) for block in part), key=lambda block: block[0]
    )
    believed = [p for _, _, p, _ in blocks if p is not None]
    features = torch.cat([features for _, features, _, _ in blocks])
    kept_pixels = [pixels for _, _, _, pixels in blocks if pixels is not None]
    return FeatureStatistics(
        moments=moments,
        features=features,
        probabilities=torch.cat(believed) if believed else None,
        counts=counts.long() if classes and believed else None,
        pixels=torch.cat(kept_pixels) if kept_pixels else torch.empty(0, dtype=torch.uint8),
        labels=None if labels is None else labels[: len(features)],
    )


def in_8_bits(images: Tensor) -> Tensor:
    """As images would be stored, and real ones come: float in [-1, 1] to uint8, (n, c, h, w)."""
    return (images.float() + 1).mul_(127.5).round_().clamp_(0, 255).byte()


def own_places(num: int, world: World) -> NDArray[np.int64]:
    """Indices in 0..num-1 of the images in this rank's blocks, ascending: int64 (n,)."""
    places: NDArray[np.int64] = np.arange(num, dtype=np.int64)
    own: NDArray[np.bool_] = places // BLOCK % world.size == world.rank
    return places[own]


def among_own(numbers: range, world: World) -> slice:
    """Where a block of this rank is among the images of `own_places`."""
    # The blocks of one rank follow each other.
    first = numbers.start // BLOCK // world.size * BLOCK
    return slice(first, first + len(numbers))


def features_of(blocks: Iterable[tuple[int, Tensor]], extractor: Extractor, world: World) -> Tensor:
    """Features of some images, float32 (n, d), in their order; all ranks must call it.

    Args:
        blocks: this rank's, with their numbers: uint8 (`BLOCK`, c, h, w), fewer in the last
            of all.
    """
    mine = [(number, extractor(block.to(world.device)).features.cpu()) for number, block in blocks]
    parts = [part for rank in world.gather(mine) for part in rank]
    return torch.cat([features for _, features in sorted(parts, key=lambda part: part[0])])
