"""The digits that come with the package, which sets that are computed are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from distgan.errors import UserError


def training_digits(
    name: str, split: str, noun: str
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """MNIST's training digits, uint8 (n, 28, 28), and their labels, int64 (n,).

    Args:
        name: of the set that is made of them, for the error.
        noun: what that set holds, such as ``images``.

    Raises:
        UserError: for another split than train.
    """
    if split != "train":
        raise UserError(
            f"--split {split}: {name} is made of MNIST's training digits and has only the split "
            f"train; keep {noun} out with --validation N"
        )
    # These import the sources.
    from distgan.data.fragments import read_resident
    from distgan.data.images import open_images

    digits = read_resident(open_images("mnist"))
    assert digits.labels is not None
    return digits.images[..., 0], digits.labels
