"""A small classifier of 28x28 gray images, shipped with its weights.

`distgan.features.train_classifier` made them. Features are the 64 numbers before the last
layer: enough to tell digits and styles of writing apart, and a Frechet distance on them takes
milliseconds.
"""

from __future__ import annotations

from importlib import resources

import torch
from safetensors.torch import load as load_tensors
from torch import Tensor, nn
from torch.nn.functional import interpolate

from distgan.data.sources.named import NAMED
from distgan.features.base import Extractor

SIZE = 64
_SIDE = 28

CLASSES = {name: NAMED[name].classes for name in ("mnist", "fashion-mnist")}
"""Of the sets that a classifier may be trained on."""


class SmallClassifier(nn.Module):
    """Five convolutions to 4x4, 64 features, ten classes."""

    deviation: Tensor

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 1
        for outputs, stride in ((32, 1), (32, 2), (64, 1), (64, 2), (64, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * 16, SIZE), nn.ReLU())
        self.head = nn.Linear(SIZE, classes)
        # Of the features of the set that it learned: distances are then of the order of one.
        self.register_buffer("deviation", torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 64) and logits (n, classes) of float (n, 1, 28, 28) in [-1, 1]."""
        features = self.body(images)
        return features / self.deviation, self.head(features)


class _Prepare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        gray = images.float().mean(1, keepdim=True)
        if gray.shape[2:] != (_SIDE, _SIDE):
            gray = interpolate(gray, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        return gray.mul_(2 / 255).sub_(1)


def small_classifier(name: str) -> Extractor:
    """The classifier that was trained on a set: ``mnist`` or ``fashion-mnist``.

    Raises:
        FileNotFoundError: when the package has no weights for it.
    """
    classes = CLASSES[name]
    network = SmallClassifier(len(classes))
    file = resources.files("distgan.features") / "weights" / f"{name}.safetensors"
    network.load_state_dict(load_tensors(file.read_bytes()))
    return Extractor(
        # On the CPU twice as fast so.
        network.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        f"small classifier, {name}",
        SIZE,
        preprocessing="mean of the channels; bilinear with antialiasing to 28x28; [-1, 1]",
        prepare=_Prepare(),
        classes=classes,
    )
