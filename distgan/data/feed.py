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
from distgan.config.run import Config
from distgan.config.shape import ImageShape
from distgan.data.prefetch import PrefetchBuffer
from distgan.parallel import World
from distgan.training.step import Batch

_NUMBERS_AT_ONCE = 2**18
"""1 MB in float32: a number costs a sixth more at half as many, two fifths at a quarter."""

Draw = Callable[[int, str, Sequence[range], int], NDArray[np.float32]]
"""What `draws.normals` and `draws.uniforms` are."""


class SampleSource(Protocol):
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

    def __init__(self, rows: SampleSource, config: Config, image: ImageShape, world: World) -> None:
        self._rows, self._config, self._world = rows, config, world
        updates = ("generator",) if config.share_fakes else ("discriminator", "generator")
        streams: dict[str, tuple[Draw, int]] = dict.fromkeys(
            updates, (draws.normals, config.latent)
        )
        augment = config.discriminator.augment.numbers
        self._augment = ("real", "fake", "generator") if augment else ()
        streams |= {f"augment-{use}": (draws.uniforms, augment) for use in self._augment}
        self._penalties = config.discriminator.penalty.numbers(image)
        for name, size in self._penalties.items():
            streams[f"penalty-{name}"] = (draws.uniforms, size)
        if config.feed.mirror:
            streams["mirror"] = (draws.uniforms, 1)
        self._numbers = _Numbers(streams, config, world)

    def batch(self, images_seen: int) -> Batch:
        """This rank's part of the global micro-batch from sample ``images_seen``."""
        images, labels = self._rows.batch(images_seen)
        # One byte a pixel travels; the device does the arithmetic.
        real = scale_pixels(to_device(images, self._world.device), self._config.dtype)
        numbers = self._numbers.batch(images_seen)
        if "mirror" in numbers:
            flip = numbers["mirror"].view(-1, 1, 1, 1) > 0.5
            real = torch.where(flip, real.flip(3), real)
        wanted = labels if self._config.conditional else None
        return Batch(
            real=real,
            labels=None if wanted is None else to_device(wanted, self._world.device),
            discriminator_latent=numbers.get("discriminator", numbers["generator"]),
            generator_latent=numbers["generator"],
            weight=self._world.weight(self._config.micro_batch),
            augment=AugmentNumbers(**{use: numbers[f"augment-{use}"] for use in self._augment}),
            penalty={name: numbers[f"penalty-{name}"] for name in self._penalties},
        )

    def generator_latents(self, images_seen: int) -> Tensor:
        """This rank's latents of the generator's update at that sample: (n, latent)."""
        return self._numbers.batch(images_seen)["generator"]

    def close(self) -> None:
        """Release what runs beside."""
        self._rows.close()


class _Numbers:
    """The random numbers of this rank's part of a batch, stream by stream.

    Args:
        streams: how each is drawn, and its numbers for a sample.
    """

    def __init__(self, streams: dict[str, tuple[Draw, int]], config: Config, world: World) -> None:
        self._streams, self._config, self._device = streams, config, world.device
        largest = max(size for _, size in streams.values())
        self._ahead = PrefetchBuffer(
            self._draw, config.micro_batch, world, largest, _NUMBERS_AT_ONCE
        )

    def batch(self, images_seen: int) -> dict[str, Tensor]:
        """By stream, (n, numbers of a sample), for the global batch from ``images_seen``."""
        return self._ahead.batch(images_seen)

    def _draw(self, parts: Sequence[range]) -> list[dict[str, Tensor]]:
        def draw(stream: str) -> Sequence[Tensor]:
            how, size = self._streams[stream]
            numbers = torch.from_numpy(how(self._config.seed, stream, parts, size))
            return to_device(numbers, self._device).to(self._config.dtype).chunk(len(parts))

        drawn = map(draw, self._streams)
        return [dict(zip(self._streams, found, strict=True)) for found in zip(*drawn, strict=True)]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, by an asynchronous copy where the device has memory of its own."""
    if device.type == "cpu":
        return tensor
    # torch's pinned-memory allocator does not reuse the buffer before the copy ran.
    return tensor.pin_memory().to(device, non_blocking=True)


def scale_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (n, h, w, c) in [0, 255] -> dtype (n, c, h, w) in [-1, 1], channels last."""
    return images.permute(0, 3, 1, 2).to(dtype).mul_(2 / 255).sub_(1)
