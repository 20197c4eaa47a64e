"""Image translation that needs no pairs on disk: the input is made from the image itself.

``edges`` asks a model for an image by its outlines, ``gray`` for its colours, ``small`` for its
details. Inputs are made on the device, after an image was enlarged, cut and mirrored, so that they
fit what became of it. Each is a function of one image alone.

To add one: write its function and its shape, and name them in `TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from distgan.config.shape import ImageShape
from distgan.errors import UserError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness: ITU-R BT.601, as Pillow's conversion to gray."""

EDGE = 0.25
"""Gradients of brightness, in [0, 1] a pixel, from which on a pixel counts as an edge."""


def gray(images: Tensor) -> Tensor:
    """Brightness: float (n, 1 or 3, h, w) in [-1, 1] -> (n, 1, h, w)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue).unsqueeze(1)


def edges(images: Tensor) -> Tensor:
    """Outlines, 1 on -1: float (n, c, h, w) in [-1, 1] -> (n, 1, h, w), each value -1 or 1.

    A pixel is an edge where the gradient of brightness, by Sobel's filters, is at least `EDGE` and
    no smaller than that of both its neighbours along the axis in which it is steeper, as in Canny,
    "A Computational Approach to Edge Detection" (1986), without smoothing and hysteresis.
    """
    # Sums of shifted images, not a convolution: the order in which a convolution adds may depend
    # on the batch, and the last bit decides between equals.
    bright = pad(gray(images), (1, 1, 1, 1), mode="replicate")[:, 0]
    left, middle, right = bright[:, :, :-2], bright[:, :, 1:-1], bright[:, :, 2:]
    columns = right - left
    rows = left + right + 2 * middle
    # Sobel's weights add up to 4 on each side, and pixels span 2: 16 is 1 in [0, 1] a pixel.
    across = columns[:, :-2] + columns[:, 2:] + 2 * columns[:, 1:-1]
    down = rows[:, 2:] - rows[:, :-2]
    steep = across * across + down * down
    around = pad(steep, (1, 1, 1, 1))
    # Of two that are equally steep one is an edge.
    sideways = (steep >= around[:, 1:-1, :-2]) & (steep > around[:, 1:-1, 2:])
    upright = (steep >= around[:, :-2, 1:-1]) & (steep > around[:, 2:, 1:-1])
    ridge = torch.where(across.abs() >= down.abs(), sideways, upright)
    found = ridge & (steep >= (16 * EDGE) ** 2)
    return (found.to(images.dtype) * 2 - 1).unsqueeze(1)


def small(images: Tensor, scale: int) -> Tensor:
    """Means of squares of ``scale`` x ``scale`` pixels: (n, c, h, w) -> (n, c, h', w')."""
    return avg_pool2d(images, scale)


def _gray_shape(image: ImageShape, scale: int) -> ImageShape:
    if image.channels == 1:
        raise UserError("--task gray: the images have no colours; use images of three channels")
    return image._replace(channels=1)


def _small_shape(image: ImageShape, scale: int) -> ImageShape:
    if image.height % scale or image.width % scale:
        raise UserError(
            f"--scale {scale}: does not divide the sides of {image.height}x{image.width} images; "
            "resize them with `distgan data prepare --size`, or use another scale"
        )
    return ImageShape(image.channels, image.height // scale, image.width // scale)


@dataclass(frozen=True)
class Task:
    """How the input is made from an image.

    Args:
        make: of images and the scale, float (n, c, h, w) in [-1, 1].
        shape: of the input, for images of a shape; raises a UserError where they do not fit.
    """

    make: Callable[[Tensor, int], Tensor]
    shape: Callable[[ImageShape, int], ImageShape]


TASKS: dict[str, Task] = {
    "edges": Task(
        lambda images, scale: edges(images), lambda image, scale: image._replace(channels=1)
    ),
    "gray": Task(lambda images, scale: gray(images), _gray_shape),
    "small": Task(small, _small_shape),
}
"""Every task by its name in configurations."""


def as_output(inputs: Tensor, output: ImageShape) -> Tensor:
    """Inputs in the shape of outputs: what a model would give that adds nothing to them.

    Brightness becomes a gray image in colour, and colours become brightness. Images are enlarged
    or reduced bicubically (Keys 1981, a = -1/2), wider where they are reduced.

    Args:
        inputs: float (n, c, h, w) in [-1, 1].

    Returns:
        float (n, c', h', w') of the shape ``output``, in [-1, 1].
    """
    if inputs.shape[1] != output.channels:
        bright = gray(inputs) if inputs.shape[1] == 3 else inputs.mean(1, keepdim=True)
        inputs = bright.expand(-1, output.channels, -1, -1)
    return resized(inputs, output.height, output.width)


def resized(images: Tensor, height: int, width: int) -> Tensor:
    """Images of another size, bicubically: (n, c, h, w) -> (n, c, height, width), in [-1, 1]."""
    if tuple(images.shape[2:]) == (height, width):
        return images
    # With antialiasing torch has Keys' a of -1/2, as Pillow, and without it -3/4.
    return interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(-1, 1)
