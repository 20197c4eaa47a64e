"""Stacked MNIST: three digits as the channels of one image, a test of mode collapse with 1,000
modes.

Metz et al., "Unrolled Generative Adversarial Networks" (ICLR 2017); Srivastava et al., "VEEGAN"
(NeurIPS 2017). The digits are drawn with replacement, as in the code of PacGAN (Lin et al.,
NeurIPS 2018), which repeats VEEGAN's experiment with 128,000 images. Their digits are all 70,000 of
MNIST at 28x28; here they are the 60,000 that come with the package, so that nothing is downloaded,
and images are 32x32, as in Denoising Diffusion GAN (Xiao et al., ICLR 2022).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distgan import draws
from distgan.config.shape import ImageShape
from distgan.data.sources.base import Item
from distgan.data.sources.digits import training_digits

NAME = "stacked-mnist"
COUNT = 128_000
"""Images, unless another number is asked for: PacGAN's and VEEGAN's."""
SHAPE = ImageShape(3, 32, 32)
DIGIT = 28
"""Side of a digit in pixels, which lies in the middle; around it is background."""
CLASSES = tuple(f"{label:03d}" for label in range(1000))
"""The digits of the channels, first to last; that of digits a, b, c is number 100a + 10b + c."""


class StackedDigits:
    """Images that are made when they are read.

    Image number n depends on n and the seed alone, so a larger set begins with the images of a
    smaller one.

    Args:
        digits: uint8 (n, 28, 28), with their labels, int64 (n,), 0 to 9.
        count: how many images there are.
    """

    kind = NAME
    classes = CLASSES
    captions = pairs = False
    notes: tuple[str, ...] = ()

    def __init__(
        self, digits: NDArray[np.uint8], labels: NDArray[np.int64], count: int, seed: int
    ) -> None:
        self._digits, self._labels, self.count, self._seed = digits, labels, count, seed

    def read(self, numbers: NDArray[np.int64]) -> list[Item]:
        """The items of these numbers: uint8 (32, 32, 3)."""
        drawn = self._drawn(numbers)
        edge = (SHAPE.height - DIGIT) // 2
        images = np.zeros((len(numbers), SHAPE.height, SHAPE.width, 3), np.uint8)
        images[:, edge:-edge, edge:-edge] = self._digits[drawn].transpose(0, 2, 3, 1)
        labels = self._labels[drawn] @ np.array([100, 10, 1])
        return [
            Item(image, f"{NAME}, image {number}", label)
            for image, number, label in zip(images, numbers.tolist(), labels.tolist(), strict=True)
        ]

    def _drawn(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which digits the images are made of: int64 (n, 3)."""
        parts = [range(number, number + 1) for number in numbers.tolist()]
        shares = draws.uniforms(self._seed, NAME, parts, 3)
        last = len(self._digits) - 1
        # A share may be 1.
        return np.minimum((shares.astype(np.float64) * (last + 1)).astype(np.int64), last)


def open_stacked(split: str, count: int | None, seed: int) -> StackedDigits:
    """The set, made of the digits in the package.

    Args:
        count: number of images; None for `COUNT`.

    Raises:
        UserError: for another split than train.
    """
    digits, labels = training_digits(NAME, split, "images")
    return StackedDigits(digits, labels, COUNT if count is None else count, seed)
