"""From the opened sets of a run to what its networks have to know of them."""

from __future__ import annotations

from distgan.data.images import ImageSet
from distgan.families import DataSpec


def data_spec(images: ImageSet, other: ImageSet | None = None) -> DataSpec:
    """Shapes and labels of a run's data.

    Args:
        other: the run's second set, where it has one.
    """
    return DataSpec(
        images.shape, images.classes, images.pair, None if other is None else other.shape
    )
