"""From images in memory to the batches of one process, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from distgan.config.run import RunConfig
from distgan.data.prefetch import PrefetchBuffer
from distgan.families.data import GENERATORS, Batch, Column, Draw
from distgan.parallel import World

_NUMBERS_AT_ONCE = 2**18
"""1 MB in float32: a number costs a sixth more at half as many, two fifths at a quarter."""


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
        source: the images as they were stored.
        columns: what of the data a batch holds, by name.
        numbers: the random numbers of every sample, by stream.
        config: for the seed, the micro-batch, the precision, and whether images are mirrored.
    """

    def __init__(
        self,
        source: SampleSource,
        columns: Mapping[str, Column],
        numbers: Mapping[str, Draw],
        config: RunConfig,
        world: World,
    ) -> None:
        self._source, self._columns, self._world = source, columns, world
        self._dtype, self._weight = config.dtype, world.weight(config.micro_batch)
        self._micro_batch, self._mirror = config.micro_batch, config.feed.mirror
        mirror = {"mirror": Draw("uniform", 1)} if self._mirror else {}
        self._numbers = _Numbers({**numbers, **mirror}, config, world)

    def batch(self, images_seen: int) -> Batch:
        """This rank's part of the global micro-batch from sample ``images_seen``."""
        images, labels = self._source.batch(images_seen)
        numbers = dict(self._numbers.batch(images_seen))
        flip = numbers.pop("mirror") if self._mirror else None
        columns = {}
        for name, column in self._columns.items():
            if column.kind == "image":
                columns[name] = self._image(images, flip)
            elif labels is not None:
                columns[name] = to_device(labels, self._world.device)
        mine = self._world.share(self._micro_batch)
        samples = torch.arange(
            images_seen + mine.start, images_seen + mine.stop, device=self._world.device
        )
        return Batch(columns, numbers, self._weight, samples)

    def _image(self, images: Tensor, flip: Tensor | None) -> Tensor:
        # One byte a pixel travels; the device does the arithmetic.
        real = scale_pixels(to_device(images, self._world.device), self._dtype)
        if flip is None:
            return real
        return torch.where(flip.view(-1, 1, 1, 1) > 0.5, real.flip(3), real)

    def numbers(self, images_seen: int) -> dict[str, Tensor]:
        """The random numbers alone of `batch`, by stream: float (n, size)."""
        return self._numbers.batch(images_seen)

    def close(self) -> None:
        """Release what runs beside."""
        self._source.close()


class _Numbers:
    """The random numbers of this rank's part of a batch, stream by stream."""

    def __init__(self, streams: Mapping[str, Draw], config: RunConfig, world: World) -> None:
        self._streams, self._config, self._device = streams, config, world.device
        largest = max((draw.size for draw in streams.values()), default=1)
        self._ahead = PrefetchBuffer(
            self._draw, config.micro_batch, world, largest, _NUMBERS_AT_ONCE
        )

    def batch(self, images_seen: int) -> dict[str, Tensor]:
        """By stream, (n, numbers of a sample), for the global batch from ``images_seen``."""
        return self._ahead.batch(images_seen)

    def _draw(self, parts: Sequence[range]) -> list[dict[str, Tensor]]:
        def draw(stream: str) -> Sequence[Tensor]:
            wanted = self._streams[stream]
            found = GENERATORS[wanted.kind](self._config.seed, stream, parts, wanted.size)
            numbers = to_device(torch.from_numpy(found), self._device)
            return numbers.to(self._config.dtype).chunk(len(parts))

        drawn = {stream: draw(stream) for stream in self._streams}
        return [{name: found[n] for name, found in drawn.items()} for n in range(len(parts))]


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on the device, by an asynchronous copy where the device has memory of its own."""
    if device.type == "cpu":
        return tensor
    # torch's pinned-memory allocator does not reuse the buffer before the copy ran.
    return tensor.pin_memory().to(device, non_blocking=True)


def scale_pixels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 (n, h, w, c) in [0, 255] -> dtype (n, c, h, w) in [-1, 1], channels last."""
    return images.permute(0, 3, 1, 2).to(dtype).mul_(2 / 255).sub_(1)
