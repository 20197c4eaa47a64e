"""From images in memory to the batches of one process, on its device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.augment import AugmentNumbers
from distgan.config import Config
from distgan.data.images import Pixels
from distgan.data.order import Order
from distgan.parallel import World
from distgan.step import Batch

_NUMBERS_AT_ONCE = 2**18
"""A megabyte in float32."""

Draw = Callable[[int, str, Sequence[range], int], NDArray[np.float32]]
"""What `draws.normals` and `draws.uniforms` are."""


class Feed:
    """Makes this rank's part of any global batch.

    A batch is a function of (seed, images seen, batch size): nothing has to be kept or
    restored to go on from the middle of an epoch, with any number of processes.

    Args:
        pixels: the whole set, as read by every process of the node.
        config: for the seed, the batch, the latent's length, the labels and the precision.
    """

    def __init__(self, pixels: Pixels, config: Config, world: World) -> None:
        self.order = Order(config.seed, len(pixels.images))
        self._config, self._world = config, world
        self._shape = pixels.images.shape[1:]
        # One row an image: torch gathers rows ten times faster than blocks.
        self._rows = _borrow(pixels.images).flatten(1)
        self._labels = _borrow(pixels.labels) if config.conditional else None
        latent, augment = config.latent, config.discriminator.augment.numbers
        self._discriminator_latents = _Ahead(draws.normals, "discriminator", latent, config, world)
        self._generator_latents = _Ahead(draws.normals, "generator", latent, config, world)
        self._augment = {
            use: _Ahead(draws.uniforms, f"augment-{use}", augment, config, world)
            for use in (("real", "fake", "generator") if augment else ())
        }

    def batch(self, images_seen: int) -> Batch:
        """This rank's part of the global batch that starts at sample ``images_seen``."""
        part = self._world.share(self._config.batch)
        first, count = images_seen + part.start, part.stop - part.start
        numbers = torch.from_numpy(self.order.images(first, count))
        images = self._rows.index_select(0, numbers)
        labels = None if self._labels is None else self._to_device(self._labels[numbers])
        return Batch(
            real=scale_pixels(self._to_device(images.view(-1, *self._shape)), self._config.dtype),
            labels=labels,
            discriminator_latent=self._discriminator_latents.batch(images_seen),
            generator_latent=self._generator_latents.batch(images_seen),
            weight=self._world.weight(self._config.batch),
            augment=AugmentNumbers(
                **{use: ahead.batch(images_seen) for use, ahead in self._augment.items()}
            ),
        )

    def _to_device(self, tensor: Tensor) -> Tensor:
        return _to_device(tensor, self._world.device)


class _Ahead:
    """This rank's numbers of one stream: drawn, and copied, for many batches at a time.

    Between two steps the processor's caches belong to the networks, and drawing for one
    batch costs three times its part of drawing for many.
    """

    def __init__(self, draw: Draw, stream: str, size: int, config: Config, world: World) -> None:
        self._draw_numbers, self._stream, self._size = draw, stream, size
        self._config, self._device = config, world.device
        self._part = world.share(config.batch)
        numbers = max(1, self._part.stop - self._part.start) * size
        self._ahead = max(1, _NUMBERS_AT_ONCE // numbers)
        self._first = 0
        self._drawn: tuple[Tensor, ...] = ()

    def batch(self, images_seen: int) -> Tensor:
        """Those of this rank's part of the global batch from ``images_seen``: (count, size)."""
        index, off = divmod(images_seen - self._first, self._config.batch)
        if off or not 0 <= index < len(self._drawn):
            self._draw(images_seen)
            index = 0
        return self._drawn[index]

    def _draw(self, first: int) -> None:
        starts = range(first, first + self._ahead * self._config.batch, self._config.batch)
        parts = [range(n + self._part.start, n + self._part.stop) for n in starts]
        numbers = self._draw_numbers(self._config.seed, self._stream, parts, self._size)
        whole = _to_device(torch.from_numpy(numbers), self._device).to(self._config.dtype)
        self._first, self._drawn = first, whole.chunk(self._ahead)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cpu":
        return tensor
    # torch's pinned-memory allocator does not reuse the buffer before the copy ran.
    return tensor.pin_memory().to(device, non_blocking=True)


def scale_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (n, h, w, c) in [0, 255] -> dtype (n, c, h, w) in [-1, 1], channels last."""
    return images.permute(0, 3, 1, 2).to(dtype).mul_(2 / 255).sub_(1)


def _borrow(array: object) -> Tensor:
    # Shared memory is read-only; nothing here writes to it, and torch only warns.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)
