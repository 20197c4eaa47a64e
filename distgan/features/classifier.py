"""Small classifiers of gray images of 28x28 and of CIFAR-10's, shipped with their weights.

`distgan.features.train_classifier` made them. Features are the 64 numbers before the last
layer: enough to tell digits and styles of writing apart, and a Frechet distance on them takes
milliseconds. The one for CIFAR-10 is less accurate: its distances compare runs with each other,
and say little about how realistic an image looks.
"""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distgan.config.shape import ImageShape
from distgan.data.sources.named import NAMED
from distgan.features.base import Extractor

SIZE = 64

CLASSES = {
    "mnist": NAMED["mnist"].classes,
    "fashion-mnist": NAMED["fashion-mnist"].classes,
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
"""Names of the classes of each set that a classifier may be trained on."""
SHAPES = {
    "mnist": ImageShape(1, 28, 28),
    "fashion-mnist": ImageShape(1, 28, 28),
    "cifar10": ImageShape(3, 32, 32),
}
"""Shapes of the images of these sets."""


STAGES = tuple(f"body.{number}" for number in (2, 5, 8, 11, 14))
"""Names of the layers that end a convolution: of 28x28 pixels, 14x14 twice, 7x7 and 4x4."""


class SmallClassifier(nn.Module):
    """Five convolutions to 4x4, 64 features, ten classes."""

    deviation: Tensor

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for outputs, stride in ((32, 1), (32, 2), (64, 1), (64, 2), (64, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 16, SIZE), nn.ReLU())
        self.head = nn.Linear(SIZE, classes)
        # Standard deviation of the features of the training set, by which features are divided,
        # so that distances are of the order of one.
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 64) and logits (n, classes) of float (n, c, h, w) in [-1, 1]."""
        features = self.body(images)
        return features / self.deviation, self.head(features)


class _Prepare(nn.Module):
    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self._shape = shape

    def forward(self, images: Tensor) -> Tensor:
        channels, *size = self._shape
        found = images.float()
        if found.shape[1] != channels:
            found = found.mean(1, keepdim=True).repeat(1, channels, 1, 1)
        if list(found.shape[2:]) != size:
            found = interpolate(found, size, mode="bilinear", antialias=True)
        return (found * (2 / 255)).sub_(1)


def trained(name: str) -> SmallClassifier:
    """The network that was trained on a set: ``mnist``, ``fashion-mnist`` or ``cifar10``.

    Raises:
        FileNotFoundError: when the package has no weights for it.
    """
    network = SmallClassifier(len(CLASSES[name]), SHAPES[name].channels)
    file = resources.files("distgan.features") / "weights" / f"{name}.safetensors"
    network.load_state_dict(load_tensors(file.read_bytes()))
    # Twice as fast on the CPU.
    found: SmallClassifier = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return found


def small_classifier(name: str) -> Extractor:
    """The extractor that `trained` gives, with its preprocessing; raises what it raises."""
    classes, shape = CLASSES[name], SHAPES[name]
    return Extractor(
        trained(name),
        f"small classifier, {name}",
        SIZE,
        preprocessing=(
            f"{'mean of the channels' if shape.channels == 1 else 'gray repeated'}; bilinear with "
            f"antialiasing to {shape.height}x{shape.width}; [-1, 1]"
        ),
        prepare=_Prepare(shape),
        classes=classes,
        stages=STAGES,
    )
