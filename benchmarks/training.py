"""A recipe's training on random images of its set's shape, step by step, without any files."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.gans import gan_recipe
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.data.damage import Damage
from distgan.data.feed import Feed
from distgan.data.images import PACKAGED, ImageSet, open_images
from distgan.data.pixels import Pixels
from distgan.data.resident import Resident
from distgan.families import Batch, DataSpec
from distgan.families.gan_config import GANConfig
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.training.health_monitor import Monitor
from distgan.training.state import TrainingState

_IMAGES = 8192
_FITS = {"cifar10-r3gan": 16}
"""Batches of recipes of which 128 images take more than 24 GB."""
_CIFAR = ImageShape(3, 32, 32)


def configure(name: str, largest_batch: int) -> GANConfig:
    """A recipe, with a batch that the machine at hand can afford."""
    config = gan_recipe(name)
    batch = min(config.batch, largest_batch, _FITS.get(name, largest_batch))
    return override(config, {"batch": batch})


def _unchanged(batch: Batch) -> Batch:
    return batch


class Training:
    """What `distgan.training.loop` does at every step, as far as it is work of the processor.

    Images are fed the resident way, so that waiting for data is gathering and drawing.
    """

    def __init__(self, config: RunConfig, world: World | None = None) -> None:
        self.config, self.world = config, world or World()
        images = _image_set(config)
        random = np.random.default_rng(0)
        size = (_IMAGES, images.shape.height, images.shape.width, images.shape.channels)
        pixels = Pixels(
            random.integers(0, 256, size, np.uint8),
            random.integers(0, len(images.classes), _IMAGES),
            np.zeros(_IMAGES, np.bool_),
        )
        rows = Resident(pixels, config.seed, config.batch, self.world, Damage(images, 0))
        self.state = TrainingState(config, DataSpec(images.shape, images.classes), self.world)
        family = self.state.family
        self.feed = Feed(rows, family.columns(), family.draws(), config, self.world)
        # Half-way, where schedules are between their ends.
        period = config.batch * self.cycle
        self.state.images_seen = config.images // 2 // period * period
        self._monitor = Monitor(config, self.state, self.feed, images)
        self.lay_out: Callable[[Batch], Batch] = _unchanged
        self._pace = 0.0

    def step(self) -> list[Batch]:
        """Fetch and train on one global batch; this rank's parts of it."""
        config, seen = self.config, self.state.images_seen
        firsts = range(0, config.batch, config.micro_batch)
        batches = [self.lay_out(self.feed.batch(seen + first)) for first in firsts]
        self.state.step(batches)
        return batches

    def record(self, batch: Batch) -> None:
        """What is done once in ``output.log_every`` images: read the means, judge the run."""
        means = self.state.statistics.means(self.world)
        self._monitor.examine(self.state, means, batch)

    @property
    def cycle(self) -> int:
        """Steps after which every part has had its turn: all networks, and lazy penalties."""
        lazy = self.state.family.lazy_interval // self.config.batch
        return max(self.state.cycle, lazy)

    @property
    def images_per_step(self) -> int:
        """Of this rank."""
        part = self.world.share(self.config.batch)
        count: int = part.stop - part.start
        return count

    def run(self, seconds: float) -> tuple[int, float]:
        """Work for about so many seconds, whole cycles, as many on every rank.

        Returns:
            this rank's images, and its seconds.
        """
        if not self._pace:
            # The first cycle compiles and fills caches, and says nothing of the next.
            for _ in range(self.cycle):
                self.step()
        cycles = max(1, round(seconds / self._pace)) if self._pace else 1
        cycles = int(self.world.broadcast(torch.tensor(cycles)).item())
        start = time.perf_counter()
        for _ in range(cycles * self.cycle):
            self.step()
        passed = time.perf_counter() - start
        self._pace = passed / cycles
        return cycles * self.cycle * self.images_per_step, passed


def _image_set(config: RunConfig) -> ImageSet:
    # The set of the recipe, if it is in the package; of CIFAR-10 no more than the shape.
    if config.data in PACKAGED:
        return open_images(config.data)
    names = tuple(f"class {number}" for number in range(10))
    return ImageSet("random", (), ((_IMAGES,),), _CIFAR, names, encoded=False)
