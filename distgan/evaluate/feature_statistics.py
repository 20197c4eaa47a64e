"""Features and moments of a set of images, from which all metrics are computed."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from distgan.metrics.moments import Moments


@dataclass(frozen=True)
class FeatureStatistics:
    """Features, moments and pixels of a set of images, gathered from all ranks."""

    moments: Moments
    """Of the features of all images."""
    features: Tensor
    """float32 (n, d), of the first images."""
    probabilities: Tensor | None
    """float32 (n, classes), of the same images; None without a classifier."""
    counts: Tensor | None
    """int64 (classes,), how many of all images are of each predicted class."""
    pixels: Tensor
    """uint8 (n, c, h, w), of the first images."""
    labels: Tensor | None = None
    """int64 (n,), of those with features, where they have labels."""
    training: Tensor | None = None
    """float32 (n, d), of the training images, where a metric asks for them."""
    held_out: Tensor | None = None
    """float32 (n, d), of images of the same kind that were not trained on, where there are any."""

    def to_tensors(self) -> dict[str, Tensor]:
        """The fields as tensors by name, for a file; `from_tensors` is the inverse."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "moments"}
        found["moments"] = self.moments.to_tensor()
        return {name: value.contiguous() for name, value in found.items() if value is not None}

    @staticmethod
    def from_tensors(tensors: dict[str, Tensor]) -> FeatureStatistics:
        """The inverse of `to_tensors`.

        Raises:
            KeyError: when something is missing.
        """
        size = tensors["features"].shape[1]
        optional = ("probabilities", "counts", "labels", "training", "held_out")
        return FeatureStatistics(
            moments=Moments.from_tensor(size, tensors["moments"]),
            features=tensors["features"],
            pixels=tensors["pixels"],
            **{name: tensors.get(name) for name in optional},
        )
