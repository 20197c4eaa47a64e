"""From images in memory to the batches of one process, on its device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distgan import draws
from distgan.augment import AugmentNumbers
from distgan.config import Config
from distgan.data.shape import ImageShape
from distgan.parallel import World
from distgan.step import Batch

_NUMBERS_AT_ONCE = 2**18
"""1 MB in float32: a number costs a sixth more at half as many, two fifths at a quarter."""

Draw = Callable[[int, str, Sequence[range], int], NDArray[np.float32]]
"""What `draws.normals` and `draws.uniforms` are."""


class Rows(Protocol):
    """Where a feed's images come from: `Resident` or `Streamed`."""

    def batch(self, images_seen: int) -> tuple[Tensor, Tensor | None]:
        """This rank's part of the global batch from sample ``images_seen``.

        Images, uint8 (n, h, w, c), and labels, int64 (n,) or None, on the CPU.
        """
        ...

    def close(self) -> None:
        """Release what runs beside."""


class Feed:
    """Makes this rank's part of any global batch.

    A batch is a function of (seed, images seen, batch size): nothing has to be kept or
    restored to go on from the middle of an epoch, with any number of processes.

    Args:
        rows: the images as they were stored.
        config: for the seed, the micro-batch, what numbers it needs, and the precision.
        image: shape of one image.
    """

    def __init__(self, rows: Rows, config: Config, image: ImageShape, world: World) -> None:
        self._rows, self._config, self._world = rows, config, world
        latent, augment = config.latent, config.discriminator.augment.numbers
        self._discriminator_latents = _Ahead(draws.normals, "discriminator", latent, config, world)
        self._generator_latents = _Ahead(draws.normals, "generator", latent, config, world)
        self._augment = {
            use: _Ahead(draws.uniforms, f"augment-{use}", augment, config, world)
            for use in (("real", "fake", "generator") if augment else ())
        }
        penalty = config.discriminator.penalty.numbers(image)
        self._penalty = (
            _Ahead(draws.uniforms, "penalty", penalty, config, world) if penalty else None
        )
        mirror = config.feed.mirror
        self._mirror = _Ahead(draws.uniforms, "mirror", 1, config, world) if mirror else None

    def batch(self, images_seen: int) -> Batch:
        """This rank's part of the global micro-batch from sample ``images_seen``."""
        images, labels = self._rows.batch(images_seen)
        # One byte a pixel travels; the device does the arithmetic.
        real = scale_pixels(to_device(images, self._world.device), self._config.dtype)
        if self._mirror is not None:
            flip = self._mirror.batch(images_seen).view(-1, 1, 1, 1) > 0.5
            real = torch.where(flip, real.flip(3), real)
        wanted = labels if self._config.conditional else None
        return Batch(
            real=real,
            labels=None if wanted is None else to_device(wanted, self._world.device),
            discriminator_latent=self._discriminator_latents.batch(images_seen),
            generator_latent=self._generator_latents.batch(images_seen),
            weight=self._world.weight(self._config.micro_batch),
            augment=AugmentNumbers(
                **{use: ahead.batch(images_seen) for use, ahead in self._augment.items()}
            ),
            penalty=None if self._penalty is None else self._penalty.batch(images_seen),
        )

    def generator_latents(self, images_seen: int) -> Tensor:
        """This rank's latents of the generator's update at that sample: (n, latent)."""
        return self._generator_latents.batch(images_seen)

    def close(self) -> None:
        """Release what runs beside."""
        self._rows.close()


class _Ahead:
    """This rank's numbers of one stream: drawn, and copied, for many batches at a time.

    Between two steps the processor's caches belong to the networks, and drawing for one
    batch costs three times its part of drawing for many.
    """

    def __init__(self, draw: Draw, stream: str, size: int, config: Config, world: World) -> None:
        self._draw_numbers, self._stream, self._size = draw, stream, size
        self._config, self._device = config, world.device
        self._part = world.share(config.micro_batch)
        numbers = max(1, self._part.stop - self._part.start) * size
        self._ahead = max(1, _NUMBERS_AT_ONCE // numbers)
        self._first = 0
        self._drawn: tuple[Tensor, ...] = ()

    def batch(self, images_seen: int) -> Tensor:
        """Those of this rank's part of the global batch from ``images_seen``: (count, size)."""
        index, off = divmod(images_seen - self._first, self._config.micro_batch)
        if off or not 0 <= index < len(self._drawn):
            self._draw(images_seen)
            index = 0
        return self._drawn[index]

    def _draw(self, first: int) -> None:
        starts = range(
            first, first + self._ahead * self._config.micro_batch, self._config.micro_batch
        )
        parts = [range(n + self._part.start, n + self._part.stop) for n in starts]
        numbers = self._draw_numbers(self._config.seed, self._stream, parts, self._size)
        whole = to_device(torch.from_numpy(numbers), self._device).to(self._config.dtype)
        self._first, self._drawn = first, whole.chunk(self._ahead)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, by an asynchronous copy where the device has memory of its own."""
    if device.type == "cpu":
        return tensor
    # torch's pinned-memory allocator does not reuse the buffer before the copy ran.
    return tensor.pin_memory().to(device, non_blocking=True)


def scale_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (n, h, w, c) in [0, 255] -> dtype (n, c, h, w) in [-1, 1], channels last."""
    return images.permute(0, 3, 1, 2).to(dtype).mul_(2 / 255).sub_(1)
