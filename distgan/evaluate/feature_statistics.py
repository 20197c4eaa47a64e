"""What was seen of a set of images: all that metrics are made from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from distgan.metrics.moments import Moments


@dataclass(frozen=True)
class FeatureStatistics:
    """What was seen of a set of images, gathered from all ranks."""

    folds: tuple[Moments, ...]
    """Moments of all features, in parts that are samples of their own."""
    features: Tensor
    """float32 (n, d), of the first images."""
    probabilities: Tensor | None
    """float32 (n, classes), of the same."""
    counts: Tensor | None
    """int64 (classes,), of all."""
    pixels: Tensor
    """uint8 (n, c, h, w), of the first images."""
    labels: Tensor | None = None
    """int64 (n,), of those with features, where they have labels."""
    training: Tensor | None = None
    """float32 (n, d), of the training images, where a metric asks for them."""
    held_out: Tensor | None = None
    """float32 (n, d), of images of the same kind that were not trained on, where there are any."""

    def to_tensors(self) -> dict[str, Tensor]:
        """By name, for a file; `from_tensors` takes them back."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "folds"}
        found["folds"] = torch.stack([fold.sums for fold in self.folds])
        return {name: value.contiguous() for name, value in found.items() if value is not None}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> FeatureStatistics:
        """What `to_tensors` gave.

        Raises:
            KeyError: when something is missing.
        """
        size = tensors["features"].shape[1]
        folds = tuple(Moments.from_sums(size, sums) for sums in tensors["folds"])
        optional = ("probabilities", "counts", "labels", "training", "held_out")
        return FeatureStatistics(
            folds=folds,
            features=tensors["features"],
            pixels=tensors["pixels"],
            **{name: tensors.get(name) for name in optional},
        )
