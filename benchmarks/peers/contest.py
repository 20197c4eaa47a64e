"""Who takes part, in what, and whether all compute the same.

Every contender trains the same networks from the same weights on the same batches in memory,
in float32, with Adam at the same settings. Three rules are in use:

- ``shared``: the generator runs once; D's update and then G's see the same fakes.
- ``fresh``: each update has fakes of its own. torchgan and mimicry know nothing else.
- ``ranks``: shared, in two processes that each take half of the batch, with gradients averaged
  and batch statistics of each half.

W4 is left out: torch follows a spectral norm in every forward, distgan once an update.

Before anything is measured, each does a few updates, and its
weights are compared with those of the textbook loop of its rule in float64 (`deviation`). In
float32 the textbook loop itself is at about 3e-3 after four updates, since Adam enlarges the
rounding of small gradients; twice that is allowed. A beta1 of 0.6 for 0.5 would be at 4e-2.
"""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gans import gan_batch
from benchmarks.textbook import in_plain_torch
from benchmarks.throughput import WORKLOADS, Workload, random_batches
from benchmarks.turns import Turn, Unavailable, Work, timed
from distgan.config.settings import override
from distgan.families import Batch
from distgan.families.gan_config import GANConfig

Weights = NDArray[Any]
Trained = tuple[list[Weights], list[Weights]]
"""Parameters of G and of D."""

_UPDATES = 4
_LEAST = 0.016
"""Rounding in float32 makes deviations of 0.002 to 0.015 in these updates, Adam's beta1 of 0.6 in
place of 0.5 makes 0.037 (W1) and 0.046 (W2), and fakes of one's own 0.058 and 0.065."""


@dataclass(frozen=True)
class Task:
    """What a contender is to train: ``name`` is a key of `WORKLOADS`."""

    name: str
    threads: int
    precision: str = "float32"

    @property
    def workload(self) -> Workload:
        """Networks, images and batch."""
        return WORKLOADS[self.name]

    @property
    def config(self) -> GANConfig:
        """The same for distgan."""
        return override(self.workload.config, {"precision": self.precision})

    def networks(self) -> tuple[nn.Module, nn.Module]:
        """Generator and discriminator in plain torch, with the same weights every time."""
        config, image = self.config, self.workload.image
        torch.manual_seed(config.seed)
        generator = config.generator.network.build(image, config.latent, 0)
        discriminator = config.discriminator.network.build(image, 0)
        made = (in_plain_torch(network) for network in (generator, discriminator))
        first, second = (network.to(config.dtype) for network in made)
        return first, second

    def batches(self) -> list[Batch]:
        """Those that all contenders cycle through."""
        config = self.config
        return [
            gan_batch(
                batch.columns["image"].to(config.dtype),
                **{role: latent.to(config.dtype) for role, latent in batch.draws.items()},
            )
            for batch in random_batches(self.workload, config)
        ]

    def turn(self, convert: Callable[[Batch], Any]) -> Iterator[Any]:
        """Batches without end, as a contender takes them."""
        return itertools.cycle([convert(batch) for batch in self.batches()])


@dataclass(frozen=True)
class Contender:
    """``work`` is one update of both networks; ``weights`` gives G's and D's parameters as they
    are now, in torch's order and shapes. ``fill`` writes G, with its running statistics, into a
    torch network of the same layers, where a contender is to be sampled from."""

    work: Work
    weights: Callable[[], Trained]
    fill: Callable[[nn.Module], None] | None = None


@dataclass(frozen=True)
class Peer:
    """One way to train.

    Args:
        module: of ``build``, in this package.
        rule: shared, fresh or ranks.
        needs: the library, as it is imported; empty for none.
        note: what a reader of the table should know.
        options: further arguments of ``build``.
    """

    module: str
    rule: str = "shared"
    needs: str = ""
    note: str = ""
    options: tuple[Any, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether its library is not installed."""
        return bool(self.needs) and importlib.util.find_spec(self.needs) is None


OURS = {"shared": "distgan", "fresh": "distgan, fresh fakes", "ranks": "distgan, 2 ranks"}
"""With whom the peers of a rule are compared."""
PEERS = {
    OURS["shared"]: Peer("ours"),
    "distgan, compiled": Peer("ours", note="--compile on", options=("on",)),
    "textbook": Peer("plain"),
    "Lightning": Peer("lightning", needs="lightning", note="manual optimization"),
    "Accelerate": Peer("accelerate", needs="accelerate"),
    "TensorFlow": Peer("keras", needs="tensorflow", note="tf.function"),
    "TensorFlow, XLA": Peer(
        "keras", needs="tensorflow", note="jit_compile", options=(True,)
    ),
    "Keras": Peer(
        "keras", needs="keras", note="train_step and train_on_batch",
        options=(False, True),
    ),
    "JAX": Peer("jax", needs="jax", note="one jitted step, optax"),
    OURS["fresh"]: Peer("ours", "fresh"),
    "textbook, fresh fakes": Peer("plain", "fresh"),
    "torchgan": Peer("torchgan", "fresh", "torchgan", "its Trainer.train_iter"),
    "mimicry": Peer("mimicry", "fresh", "torch_mimicry", "its train_step"),
    OURS["ranks"]: Peer("ours", "ranks"),
    "DDP, 2 processes": Peer("ddp", "ranks", note="the textbook loop: D's gradients go thrice"),
}  # fmt: skip
"""Every contender by the name in the table."""
_REFERENCES = {"shared": "textbook", "fresh": "textbook, fresh fakes", "ranks": "DDP, 2 processes"}


def build(name: str, task: Task) -> Contender:
    """A contender, in this process."""
    peer = PEERS[name]
    module = importlib.import_module(f"benchmarks.peers.{peer.module}")
    rule = (peer.rule,) if peer.module in ("ours", "plain") else ()
    contender: Contender = module.build(task, *rule, *peer.options)
    return contender


def _trained(contender: Contender) -> Trained:
    for _ in range(_UPDATES):
        contender.work()
    return contender.weights()


def _build_and_train(name: str, task: Task) -> Trained:
    return _trained(build(name, task))


def trained(name: str, task: Task) -> Trained:
    """The weights of both networks after a few updates in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_build_and_train, name, task).result()


def deviation(weights: list[Weights], reference: list[Weights], start: list[Weights]) -> float:
    """How far a network's weights are from where they should be, over how far they went there.

    Both are medians over all weights: rounding, which Adam enlarges where a gradient is next to
    nothing, moves a few weights, and another rule moves most of them.
    """

    def typical(mine: list[Weights], theirs: list[Weights]) -> float:
        distances = [np.abs(a - b).ravel() for a, b in zip(mine, theirs, strict=True)]
        return float(np.median(np.concatenate(distances)))

    return typical(weights, reference) / typical(reference, start)


def trained_from(task: Task) -> Trained:
    """The weights that all start with."""
    generator, discriminator = task.networks()
    return of_torch(generator), of_torch(discriminator)


@dataclass(frozen=True)
class Reference:
    """Where a rule's weights should be after a few updates, where they started, and how much
    of a `deviation` is allowed."""

    exact: Trained
    start: Trained
    allowed: float

    @staticmethod
    def of(rule: str, task: Task) -> Reference:
        """By the textbook loop, in processes of its own."""
        plain, double = _REFERENCES[rule], replace(task, precision="float64")
        found = Reference(trained(plain, double), trained_from(double), 0.0)
        usual = found.deviation(trained(plain, task))
        return replace(found, allowed=max(_LEAST, 2 * usual))

    def deviation(self, weights: Trained) -> float:
        """The greater of both networks'."""
        return max(map(deviation, weights, self.exact, self.start))


def prepare(name: str, task: Task, reference: Reference) -> Turn:
    """A side for `benchmarks.frame`, once it computed what it should.

    Raises:
        Unavailable: where it cannot.
        RuntimeError: where it did not.
    """
    if PEERS[name].missing:
        raise Unavailable("not installed")
    contender = build(name, task)
    apart = reference.deviation(_trained(contender))
    if apart > reference.allowed:
        raise RuntimeError(f"weights deviate by {apart:.1e}, {reference.allowed:.1e} are allowed")
    turn = timed(lambda: contender.work)
    return lambda seconds: {**turn(seconds), "deviation": apart}


def both_latents(batches: list[Batch]) -> Iterator[torch.Tensor]:
    """Latents without end: each batch's of D's update, then those of G's."""
    return itertools.cycle(
        batch.draws[role] for batch in batches for role in ("discriminator", "generator")
    )


def of_torch(network: nn.Module) -> list[Weights]:
    """Copies of a network's parameters."""
    return [p.detach().numpy().copy() for p in network.parameters()]
