"""Predicts a configuration's speed on given hardware, its bottleneck, and useful changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch

from distgan.config.clip import Clips
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.config.shape import ImageShape
from distgan.data.clips import moving
from distgan.data.images import open_images
from distgan.data.sources import stacked
from distgan.data.spec import data_spec
from distgan.errors import UserError
from distgan.families import DataSpec, build, registry
from distgan.families.check import check_networks
from distgan.parallel.allocator import keep_freed_memory, return_freed_memory
from distgan.plan import devices
from distgan.plan.measure import Cycles, measure
from distgan.plan.memory import Memory, memory
from distgan.plan.model import Compute, Link, Network, Prediction, predict
from distgan.plan.trace import trace
from distgan.plan.work import Work

_WORTH = 1.05
"""Changes with a smaller gain are not listed."""

BOTTLENECKS = {
    "images": "computing",
    "fixed": "what a step costs however few images a worker has",
    "slowed": "exchanging gradients, which takes the processor from computing",
    "exposed": "exchanging gradients",
    "synchronised": "agreeing on batch statistics",
    "stragglers": "waiting for the slowest worker",
}
"""Descriptions of the terms of a `Prediction`."""


@dataclass(frozen=True)
class Remedy:
    """A change of settings, the expected factor of speed, and its disadvantage."""

    change: str
    gain: float
    cost: str = ""


def bottleneck(prediction: Prediction) -> str:
    """The name of the largest term."""
    return max(prediction.terms, key=lambda name: prediction.terms[name])


def remedies(
    config: RunConfig,
    prediction: Prediction,
    again: Callable[[RunConfig], Prediction],
    on_gpu: bool,
) -> list[Remedy]:
    """The changes of settings with a gain, the largest gain first.

    Args:
        again: predicts another configuration on the same workers.
    """
    found = []
    for changes, cost in _candidates(config, prediction.workers, on_gpu):
        try:
            changed = override(config, changes)
        except UserError:
            continue  # The changed settings contradict each other.
        gain = again(changed).images_per_second / prediction.images_per_second
        if gain >= _WORTH:
            text = " ".join(f"--{name} {str(value).lower()}" for name, value in changes.items())
            found.append(Remedy(text, gain, cost))
    return sorted(found, key=lambda remedy: -remedy.gain)


def _candidates(
    config: RunConfig, workers: int, on_gpu: bool
) -> Iterator[tuple[dict[str, Any], str]]:
    if config.precision == "float32" and on_gpu:
        yield {"precision": "bf16"}, "rounds activations"
    if workers > 1 and not config.parallel.compress:
        yield {"parallel.compress": True}, "rounds gradients"
    if workers > 1 and config.parallel.sync_batch_norm:
        yield {"parallel.sync_batch_norm": False}, "results depend on the number of workers"
    yield {"batch": 4 * config.batch}, "trains otherwise: adapt the learning rates"


_PHOTO = ImageShape(3, 256, 256)
_SHAPES = {
    "cifar10": (ImageShape(3, 32, 32), 10),
    "cifar100": (ImageShape(3, 32, 32), 100),
    "mnist32": (ImageShape(1, 32, 32), 10),
    **{f"{name}256": (_PHOTO, 0) for name in ("facades", "horses", "zebras")},
    stacked.NAME: (stacked.SHAPE, len(stacked.CLASSES)),
    **{f"ffhq{side}": (ImageShape(3, side, side), 0) for side in (64, 256)},
    **{f"imagenet{side}": (ImageShape(3, side, side), 1_000) for side in (32, 64)},
    **{
        name: (ImageShape(1, one.side, one.side), len(one.classes))
        for name, one in moving.MOVING.items()
    },
    **{f"clips{side}": (ImageShape(3, side, side), 0) for side in (64, 256)},
}
"""Image shape and number of classes of sets that recipes name and may not be on this machine."""
_PAIRS = {"facades256": _PHOTO}
"""Shape of the pairs of those that have some."""
_LONG = Clips(128, 128, 128_000, 25.0)
"""Lengths that are taken for clips of which none are known: a step is the same of all that are long
enough."""
_LENGTHS = {
    **dict.fromkeys(
        moving.MOVING,
        Clips(moving.FRAMES, moving.FRAMES, moving.COUNT * moving.FRAMES, moving.FPS),
    ),
    **dict.fromkeys(("clips64", "clips256"), _LONG),
}
"""Lengths of those that are sets of clips."""
_THREADS = 2
"""Threads of a worker without a GPU."""
LOOPBACK = Link(1e9, 50e-6)
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
        """Check that it is valid for a global batch.

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
    """The prediction for a configuration in a place, and the quantities it was made from.

    ``hours`` is the time to train on the configuration's number of images.
    """

    place: Place
    work: Work
    compute: Compute
    network: Network
    prediction: Prediction
    hours: float
    remedies: list[Remedy]
    memory: Memory


def plan(config: RunConfig, place: Place, image: ImageShape | None = None) -> Plan:
    """Predict a configuration somewhere.

    Args:
        image: shape of the images; None reads it from the data.

    Raises:
        UserError: when the place is not valid for the configuration, or its data is neither on
            this machine nor known by name, or has not what the family learns from.
    """
    place.check(config.batch)
    data = known_data(config, image)
    build(config, data).check_data()
    # On a CPU the step is measured, so the networks must be of a plausible size.
    check_networks(config, data)
    work, compute, network, prediction = _expect(config, place, data)

    def again(changed: RunConfig) -> Prediction:
        return _expect(changed, place, data, compute)[3]

    found = remedies(config, prediction, again, place.gpu != "cpu")
    hours = config.images / prediction.images_per_second / 3600
    share = -(-config.micro_batch // place.workers)
    held = memory(config, data, share)
    return Plan(place, work, compute, network, prediction, hours, found, held)


def known_data(config: RunConfig, image: ImageShape | None = None) -> DataSpec:
    """The shapes and labels of a configuration's data.

    Args:
        image: what to take for the shape, also of pairs and of a second set; None reads the shapes
            from the data.

    Raises:
        UserError: when the data is neither on this machine nor known by name.
    """
    if image is not None:
        classes = _SHAPES[config.data][1] if config.data in _SHAPES else 10
        lengths = _LONG if registry.makes_clips(config.family) else None
        return replace(DataSpec.numbered(image, classes), pair=image, other=image, clips=lengths)
    first = _known(config.data, "--data")
    if not config.second_set:
        return first
    return replace(first, other=_known(config.second_set, "--data_b").image)


def _known(data: str, option: str) -> DataSpec:
    known = _SHAPES.get(data)
    if known is None:
        return data_spec(open_images(data, option))
    return replace(DataSpec.numbered(*known), pair=_PAIRS.get(data), clips=_LENGTHS.get(data))


def _expect(
    config: RunConfig, place: Place, data: DataSpec, timed: Compute | None = None
) -> tuple[Work, Compute, Network, Prediction]:
    # `timed` is a measurement of a configuration with the same computation, to be reused.
    work = trace(config, data)
    if place.gpu == "cpu":
        compute = timed or _timed(config, data, place)
        network = Network(LOOPBACK, place.across)
    else:
        device = devices.gpu(place.gpu)
        compute = devices.expected(device, work, config)
        network = devices.network(device, place.across)
    prediction = predict(work, compute, network, config.batch, place.workers, place.nodes)
    return work, compute, network, prediction


def _timed(config: RunConfig, data: DataSpec, place: Place) -> Compute:
    with _like_a_worker():
        return measure(config, data, -(-config.batch // place.workers))


def speed_here(config: RunConfig, image: ImageShape, classes: int, seconds: float = 1.0) -> float:
    """Images a second of a cycle on two of this machine's cores, timed for about ``seconds``."""
    cycles = Cycles(config, DataSpec.numbered(image, classes))
    with _like_a_worker():
        return cycles.images_per_second(seconds)


@contextlib.contextmanager
def _like_a_worker() -> Iterator[None]:
    keep_freed_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(min(_THREADS, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
        return_freed_memory()
