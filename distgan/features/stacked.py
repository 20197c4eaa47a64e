"""What sees Stacked MNIST: the packaged classifier of digits, on each of three channels.

The product of three distributions over ten digits is one over 1,000 classes, as the channels are
judged apart. The classifier is the package's own; published values were measured with others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from distgan.config.shape import ImageShape
from distgan.data.images import ImageSet
from distgan.data.sources.stacked import CLASSES, DIGIT, SHAPE
from distgan.errors import UserError
from distgan.features.base import Extractor
from distgan.features.classifier import SIZE, SmallClassifier, trained

_CHANNELS = 3
_SHAPES = (SHAPE, ImageShape(_CHANNELS, DIGIT, DIGIT))


class StackedClassifier(nn.Module):
    """A classifier of digits on every channel."""

    def __init__(self, digits: SmallClassifier) -> None:
        super().__init__()
        self.digits = digits

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 3 * 64), channel after channel, and logits (n, 1000) of digits a, b, c at
        100a + 10b + c, of float (n, 3, 28, 28) in [-1, 1]."""
        # Channel by channel: three times as large batches take longer in all.
        features, logits = zip(
            *(self.digits(channel) for channel in torch.split(images, 1, 1)), strict=True
        )
        # Softmax of sums is the product of softmaxes.
        first, second, third = logits
        sums = first[:, :, None, None] + second[:, None, :, None] + third[:, None, None, :]
        return torch.cat(features, 1), sums.flatten(1)


class _Prepare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        top, left = ((side - DIGIT) // 2 for side in images.shape[2:])
        middle = images[:, :, top : top + DIGIT, left : left + DIGIT]
        return (middle.float() * (2 / 255)).sub_(1)


def stacked_mnist() -> Extractor:
    """The classifier of `distgan.features.classifier` for MNIST, channel by channel.

    It takes uint8 (n, 3, h, w), whose middle 28x28 pixels hold the digits.
    """
    return Extractor(
        StackedClassifier(trained("mnist")),
        "small classifier, mnist, on each channel",
        _CHANNELS * SIZE,
        preprocessing=f"middle {DIGIT}x{DIGIT} of each channel; [-1, 1]",
        prepare=_Prepare(),
        classes=CLASSES,
    )


def suits(images: ImageSet) -> bool:
    """Whether this is a set of stacked digits, by its classes and its shape."""
    return images.classes == CLASSES and images.shape in _SHAPES


def check_shape(image: ImageShape) -> None:
    """Check that images of this shape can hold a digit in each of their channels.

    Raises:
        UserError: when they cannot.
    """
    if image not in _SHAPES:
        shapes = " or ".join(map(str, _SHAPES))
        raise UserError(
            f"--evaluate.features stacked-mnist: reads the digits in the channels of images of "
            f"{shapes}, and these are {image}; name another"
        )
