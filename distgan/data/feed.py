"""From images in memory to the batches of one process, on its device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distgan.config.run import RunConfig
from distgan.data import jitter
from distgan.data.jitter import Jitter
from distgan.data.order import OTHER
from distgan.data.prefetch import PrefetchBuffer
from distgan.families.data import GENERATORS, Batch, Column, Draw
from distgan.parallel import World

_NUMBERS_AT_ONCE = 2**18
"""1 MB in float32: a number costs a sixth more at half as many, two fifths at a quarter."""


class Rows(NamedTuple):
    """Some images as they are stored, on the CPU.

    ``images`` is uint8 (n, h, w, c) and ``labels`` int64 (n,) or None. ``pairs`` is uint8
    (n, h, w, c) of a shape of its own, or None where pairs are not wanted. Of a set of clips
    ``images`` are frames, uint8 (n, frames, h, w, c), and ``times`` are which ones of their clip,
    int64 (n, frames).
    """

    images: Tensor
    labels: Tensor | None
    pairs: Tensor | None = None
    times: Tensor | None = None


class SampleSource(Protocol):
    """Where a feed's images come from: `Resident` or `Streamed`."""

    def batch(self, images_seen: int) -> Rows:
        """This rank's part of the global batch from sample ``images_seen``."""
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
        config: for the seed, the micro-batch, the precision, and how images are changed at random.
        other: the images of the second set, for columns of it.
    """

    def __init__(
        self,
        source: SampleSource,
        columns: Mapping[str, Column],
        numbers: Mapping[str, Draw],
        config: RunConfig,
        world: World,
        other: SampleSource | None = None,
    ) -> None:
        self._columns, self._world, self._load_size = columns, world, config.feed.load_size
        self._dtype, self._weight = config.dtype, world.weight(config.micro_batch)
        self._micro_batch = config.micro_batch
        self._numbers = _Numbers(numbers, config, world, _NUMBERS_AT_ONCE)
        sources = {"": source, **({} if other is None else {OTHER: other})}
        self._rows = {
            of: _RowsInOrder(each, config, world, _ahead(columns, config, bool(of)), of)
            for of, each in sources.items()
        }

    def batch(self, images_seen: int) -> Batch:
        """This rank's part of the global micro-batch from sample ``images_seen``."""
        numbers = self._numbers.batch(images_seen)
        read = {of: rows.batch(images_seen) for of, rows in self._rows.items()}
        columns = {}
        for name, column in self._columns.items():
            rows, chances = read[OTHER if column.second else ""][column.next_batch]
            if column.kind in ("label", "times"):
                stored = rows.labels if column.kind == "label" else rows.times
                if stored is not None:
                    columns[name] = to_device(stored, self._world.device)
                if stored is not None and column.kind == "times":
                    columns[name] = columns[name].to(self._dtype)
            else:
                columns[name] = self._image(rows, column, chances, read[""][0][0])
        mine = self._world.share(self._micro_batch)
        samples = torch.arange(
            images_seen + mine.start, images_seen + mine.stop, device=self._world.device
        )
        return Batch(columns, numbers, self._weight, samples)

    def _image(
        self, rows: Rows, column: Column, chances: Mapping[str, Tensor], first: Rows
    ) -> Tensor:
        wanted = rows.pairs if column.kind == "pair" else rows.images
        assert wanted is not None
        # One byte a pixel travels; the device does the arithmetic.
        real = scale_pixels(to_device(wanted, self._world.device), self._dtype)
        if "jitter" in chances:
            real = self._cut(rows, first)(real, chances["jitter"])
        if "mirror" in chances:
            flip = chances["mirror"].view(-1, *(1,) * (real.dim() - 1)) > 0.5
            real = torch.where(flip, real.flip(-1), real)
        return real

    def _cut(self, rows: Rows, first: Rows) -> Jitter:
        """How all images of some rows are cut, alike; ``first`` are rows of the run's first set."""
        sizes = [
            (part.shape[1], part.shape[2]) for part in (rows.images, rows.pairs) if part is not None
        ]
        return Jitter(self._load_size, min(first.images.shape[1:3]), sizes)

    def numbers(self, images_seen: int) -> dict[str, Tensor]:
        """The random numbers alone of `batch`, by stream: float (n, size)."""
        return self._numbers.batch(images_seen)

    def close(self) -> None:
        """Release what runs beside."""
        for rows in self._rows.values():
            rows.close()


def _ahead(columns: Mapping[str, Column], config: RunConfig, second: bool) -> int:
    """Images between a sample and the later one of the same set that is wanted with it, or 0."""
    wanted = any(column.next_batch for column in columns.values() if column.second == second)
    return config.batch if wanted else 0


class _RowsInOrder:
    """Rows, and numbers to change them by, of this rank's part of each micro-batch.

    The source is read in order and each sample once: those of the next batch that are wanted
    already are kept, as bytes, until their own turn.

    Args:
        ahead: images between a sample and the later one that is wanted with it; 0 for none.
        suffix: of the names of the streams of numbers.
    """

    Part = tuple[Rows, dict[str, Tensor]]

    def __init__(
        self, source: SampleSource, config: RunConfig, world: World, ahead: int, suffix: str
    ) -> None:
        self._source, self._micro_batch, self._ahead = source, config.micro_batch, ahead
        sizes = {"mirror": int(config.feed.mirror)}
        sizes["jitter"] = jitter.NUMBERS if config.feed.load_size else 0
        wanted = {f"{name}{suffix}": Draw("uniform", size) for name, size in sizes.items() if size}
        self._names = {f"{name}{suffix}": name for name in sizes}
        # As many batches ahead as of the latents of a small network.
        few = _NUMBERS_AT_ONCE // 64
        self._chances = _Numbers(wanted, config, world, few) if wanted else None
        self._kept: dict[int, _RowsInOrder.Part] = {}
        self._next = 0

    def batch(self, images_seen: int) -> tuple[Part, Part]:
        """Of the samples from ``images_seen``, and of those so far ``ahead``."""
        if images_seen not in self._kept:
            # At the start, and wherever training goes on from.
            self._kept, self._next = {}, images_seen
        while self._next <= images_seen + self._ahead:
            self._kept[self._next] = self._read(self._next)
            self._next += self._micro_batch
        later = self._kept[images_seen + self._ahead]
        return self._kept.pop(images_seen), later

    def close(self) -> None:
        """Release what runs beside."""
        self._source.close()

    def _read(self, images_seen: int) -> Part:
        found = {} if self._chances is None else self._chances.batch(images_seen)
        chances = {self._names[stream]: numbers for stream, numbers in found.items()}
        return self._source.batch(images_seen), chances


class _Numbers:
    """The random numbers of this rank's part of a batch, stream by stream."""

    def __init__(
        self, streams: Mapping[str, Draw], config: RunConfig, world: World, at_once: int
    ) -> None:
        self._streams, self._config, self._device = streams, config, world.device
        largest = max((draw.size for draw in streams.values()), default=1)
        self._ahead = PrefetchBuffer(self._draw, config.micro_batch, world, largest, at_once)

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
    """uint8 (..., h, w, c) in [0, 255] -> dtype (..., c, h, w) in [-1, 1], channels last."""
    return images.movedim(-1, -3).to(dtype).mul_(2 / 255).sub_(1)
