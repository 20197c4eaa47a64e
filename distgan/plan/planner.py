"""From a configuration and a place to train it to what is expected there."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from distgan.config.run import RunConfig
from distgan.config.shape import ImageShape
from distgan.data.images import open_images
from distgan.errors import UserError
from distgan.families import DataSpec
from distgan.families.check import check_networks
from distgan.launch.allocator import keep_freed_memory
from distgan.plan import devices
from distgan.plan.advice import Remedy, remedies
from distgan.plan.compute import Compute
from distgan.plan.measure import measure
from distgan.plan.model import Prediction, predict
from distgan.plan.network import Link, Network
from distgan.plan.trace import trace
from distgan.plan.work import Work

_SHAPES = {"cifar10": (ImageShape(3, 32, 32), 10), "cifar100": (ImageShape(3, 32, 32), 100)}
"""Images and classes of sets that recipes name and that may not be here yet."""
_THREADS = 2
"""Of a worker without a GPU."""
_LOOPBACK = Link(1e9, 50e-6)
"""Between processes of one machine, by gloo: assumed."""


@dataclass(frozen=True)
class Place:
    """Where to train: ``workers`` in equal parts on ``nodes``, each with a GPU or, named
    ``cpu``, two cores. ``across`` is what connects the nodes."""

    gpu: str
    workers: int
    nodes: int
    across: Link

    def check(self, batch: int) -> None:
        """See that it makes sense for a global batch.

        Raises:
            UserError: when it does not.
        """
        if self.gpu != "cpu":
            devices.gpu(self.gpu)
        if self.workers > batch:
            raise UserError(
                f"--workers {self.workers}: more workers than images in a batch ({batch}); "
                "use fewer, or a larger --batch"
            )
        if self.workers % self.nodes:
            fits = max(self.nodes, self.workers // self.nodes * self.nodes)
            raise UserError(
                f"--workers {self.workers}: is not a multiple of the {self.nodes} nodes; "
                f"use {fits}, or other --nodes"
            )


@dataclass(frozen=True)
class Plan:
    """What is expected of a configuration in a place, and of what was assumed.

    ``hours`` are those until the configuration's images.
    """

    place: Place
    work: Work
    compute: Compute
    network: Network
    prediction: Prediction
    hours: float
    remedies: list[Remedy]


def plan(config: RunConfig, place: Place, image: ImageShape | None = None) -> Plan:
    """Predict a configuration somewhere.

    Args:
        image: shape of the images, where the data is not to be asked.

    Raises:
        UserError: when the place makes no sense for the configuration, or its data is neither
            here nor known.
    """
    place.check(config.batch)
    shape, classes = _data(config, image)
    # A processor is measured, for which its memory has to do.
    check_networks(config, DataSpec.numbered(shape, classes))
    work, compute, network, prediction = _expect(config, place, shape, classes)

    def again(changed: RunConfig) -> Prediction:
        return _expect(changed, place, shape, classes, compute)[3]

    found = remedies(config, prediction, again, place.gpu != "cpu")
    hours = config.images / prediction.images_per_second / 3600
    return Plan(place, work, compute, network, prediction, hours, found)


def _data(config: RunConfig, image: ImageShape | None) -> tuple[ImageShape, int]:
    known = _SHAPES.get(config.data)
    if image is not None:
        return image, known[1] if known else 10
    if known is not None:
        return known
    images = open_images(config.data)
    return images.shape, len(images.classes)


def _expect(
    config: RunConfig, place: Place, image: ImageShape, classes: int, timed: Compute | None = None
) -> tuple[Work, Compute, Network, Prediction]:
    # `timed` is what was measured here of a configuration with the same arithmetic.
    work = trace(config, image, classes)
    if place.gpu == "cpu":
        compute = timed or _timed(config, image, classes, place)
        network = Network(_LOOPBACK, place.across)
    else:
        device = devices.gpu(place.gpu)
        compute = devices.expected(device, work, config)
        network = devices.network(device, place.across)
    prediction = predict(work, compute, network, config.batch, place.workers, place.nodes)
    return work, compute, network, prediction


def _timed(config: RunConfig, image: ImageShape, classes: int, place: Place) -> Compute:
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(min(_THREADS, before))
    try:
        return measure(config, image, classes, -(-config.batch // place.workers))
    finally:
        torch.set_num_threads(before)
