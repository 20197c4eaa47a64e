"""What `distgan plan` counts without memory is what two ranks exchange."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.networks import ImageShape
from distgan.parallel import World
from distgan.plan import trace
from distgan.plan.batches import random_batches
from distgan.plan.work import Message
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from . import ranks

IMAGE, CLASSES = ImageShape(1, 28, 28), 10
NARROW = {"generator.network.width": 8, "discriminator.network.width": 8, "batch": 16}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mnist-mlp-tutorial", {"batch": 16}),
    "mlp, whole batch": ("mnist-mlp-tutorial", {"batch": 16, "loss": "relativistic-average"}),
    "dcgan": ("mnist-dcgan", NARROW),
    "dcgan sharing fakes": ("mnist-dcgan", {**NARROW, "share_fakes": True}),
    "dcgan in parts": ("mnist-dcgan", {**NARROW, "accumulate": 2}),
    "dcgan, two updates": ("mnist-dcgan", {**NARROW, "discriminator.updates": 2}),
    "sngan": (
        "cifar10-sngan-tiny",
        {**NARROW, "discriminator.updates": 1, "generator.network.width": 12},
    ),
}
CONFIGS = {name: override(recipe(base), changes) for name, (base, changes) in CASES.items()}
Exchanges = list[tuple[str, int]]
_BIAS = 4096
"""Bytes of the longest."""


def _listen(world: World) -> list[Exchanges]:
    """Kind and bytes of what a step of each case exchanges, when DDP has settled its buckets."""
    return [_of_a_cycle(world, config) for config in CONFIGS.values()]


def _of_a_cycle(world: World, config: RunConfig) -> Exchanges:
    heard: Exchanges = []
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)

    def note(sent: dist.GradBucket) -> torch.futures.Future[Tensor]:
        heard.append(("gradients", sent.buffer().nbytes))
        return allreduce_hook(None, sent)

    for player in state.networks.values():
        # A lambda, because DDP compares annotations, which here are text.
        player.parallel.register_comm_hook(None, lambda _, bucket: note(bucket))  # type: ignore[operator]
    batches = random_batches(config, state.family, config.micro_batch // 2, torch.device("cpu"))
    reduce, gather = dist.all_reduce, dist.all_gather_into_tensor

    def heard_reduce(values: Tensor, *arguments: Any, **named: Any) -> Any:
        if not named.get("async_op"):  # As the hook above calls it.
            heard.append(("reduce", values.nbytes))
        return reduce(values, *arguments, **named)

    def heard_gather(parts: Tensor, values: Tensor, **named: Any) -> Any:
        heard.append(("gather", values.nbytes))
        return gather(parts, values, **named)

    for _ in range(2):
        heard.clear()
        dist.all_reduce, dist.all_gather_into_tensor = heard_reduce, heard_gather
        for _ in range(config.discriminator.updates):
            state.step(batches)
        dist.all_reduce, dist.all_gather_into_tensor = reduce, gather
    return heard


@pytest.mark.slow
def test_two_ranks_exchange_what_is_planned(tmp_path: Path) -> None:
    heard = ranks.on_ranks(2, _listen, tmp_path)[0]
    for (name, config), exchanges in zip(CONFIGS.items(), heard, strict=True):
        work = trace(config, DataSpec.numbered(IMAGE, CLASSES))
        planned = [_heard(m) for update in work.updates for m in update.messages]
        for kind in ("gather", "reduce"):
            assert _sizes(planned, kind) == _sizes(exchanges, kind), name
        ours, theirs = (_sizes(found, "gradients") for found in (planned, exchanges))
        assert sum(ours) == sum(theirs), name
        # oneDNN's linear layer hands over a bias after its weight, torch's own before it: one
        # may fall to the next bucket.
        ours, theirs = ([size for size in sizes if size > _BIAS] for sizes in (ours, theirs))
        assert ours == pytest.approx(theirs, abs=_BIAS), name


def _heard(message: Message) -> tuple[str, int]:
    # Each of two workers has half of the whole batch.
    whole = message.kind == "whole"
    return ("gather", message.size // 2) if whole else (message.kind, message.size)


def _sizes(exchanges: Exchanges, kind: str) -> list[int]:
    return [size for k, size in exchanges if k == kind]
