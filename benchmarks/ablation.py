"""Each speed option of a recipe's step on and off, everything else as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

import distgan.networks.kernels.linear
from benchmarks.training import Training
from benchmarks.turns import Turn, Values
from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import Batch
from distgan.families.gan_config import GANConfig
from distgan.networks.kernels.linear import mkl_is_slow
from distgan.objectives.penalties import GRADIENT_PENALTIES
from distgan.parallel import World, has_batch_norm
from distgan.parallel.allocator import keep_freed_memory


def _as_it_is(training: Training) -> None:
    pass


@dataclass(frozen=True)
class Variant:
    """A way to run the step that differs in one thing.

    Args:
        settings: of the configuration; a value of None stands for the opposite of the recipe's.
        change: what is done to the training before its first step.
        allocator: whether the process keeps freed memory, as workers do.
        onednn: whether linear layers may choose oneDNN.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    change: Callable[[Training], None] = _as_it_is
    allocator: bool = True
    onednn: bool = True


def _batches_apart(training: Training) -> None:
    networks = training.state.networks
    networks["discriminator"] = replace(networks["discriminator"], joint=False)


def _plain_adam(training: Training) -> None:
    for trained in training.state.networks.values():
        for group in trained.optimizer.param_groups:
            group["fused"] = False


def _contiguous(training: Training) -> None:
    def lay_out(batch: Batch) -> Batch:
        columns = {name: column.contiguous() for name, column in batch.columns.items()}
        return replace(batch, columns=columns)

    state = training.state
    networks = [trained.network for trained in state.networks.values()]
    for network in (*networks, *(ema.average for ema in state.averages.values())):
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    training.lay_out = lay_out


SETTINGS = {
    "bf16": Variant({"precision": "bf16"}),
    "share_fakes": Variant({"share_fakes": True}),
    "bf16 + share_fakes": Variant({"precision": "bf16", "share_fakes": True}),
}
"""Options that a run may be given."""

COMPILED = {
    "compile": Variant({"compile": "on"}),
    "compile + bf16 + share_fakes": Variant(
        {"compile": "on", "precision": "bf16", "share_fakes": True}
    ),
}
"""The one that takes a minute to get ready."""

BUILT_IN = {
    "without kept memory": Variant(allocator=False),
    "without fused Adam": Variant(change=_plain_adam),
    "without channels_last": Variant(change=_contiguous),
    "without one D pass": Variant(change=_batches_apart),
    "without oneDNN's product": Variant(onednn=False),
}
"""What is always on, switched off from outside."""

PARALLEL = {
    "compress": Variant({"parallel.compress": True}),
    "without sync_batch_norm": Variant({"parallel.sync_batch_norm": False}),
}
"""Options of runs of several workers."""


def variants(config: GANConfig, compiled: bool) -> dict[str, Variant]:
    """Those that change anything of a recipe's step on this machine."""
    found = {**SETTINGS, **BUILT_IN}
    penalties = any(config.discriminator.penalty.uses(name) for name in GRADIENT_PENALTIES)
    if compiled and not penalties:
        found |= COMPILED
    networks = Training(config).state.networks
    layers = [type(layer) for each in networks.values() for layer in each.network.modules()]
    convolutions = (nn.Conv2d, nn.ConvTranspose2d)
    if not any(issubclass(kind, convolutions) for kind in layers):
        del found["without channels_last"]
    if not networks["discriminator"].joint:
        del found["without one D pass"]
    if not mkl_is_slow() or not any(issubclass(kind, nn.Linear) for kind in layers):
        del found["without oneDNN's product"]
    return found


def parallel_variants(config: RunConfig) -> dict[str, Variant]:
    """Those that change anything of a recipe's step on several workers."""
    found = dict(PARALLEL)
    networks = Training(config).state.networks.values()
    if not any(has_batch_norm(each.network) for each in networks):
        del found["without sync_batch_norm"]
    return found


def steps(world: World, config: RunConfig, variant: Variant) -> Turn:
    """Turns that find images/s of a recipe's step in some way."""
    if variant.allocator:
        keep_freed_memory()
    if not variant.onednn:
        linear: Any = distgan.networks.kernels.linear
        linear.mkl_is_slow = lambda: False
    training = Training(override(config, variant.settings), world)
    variant.change(training)

    def turn(seconds: float) -> Values:
        images, passed = training.run(seconds)
        return {"images/s": images / passed}

    return turn


def alone(threads: int, config: RunConfig, variant: Variant) -> Turn:
    """The same in a process by itself."""
    torch.set_num_threads(threads)
    return steps(World(), config, variant)
