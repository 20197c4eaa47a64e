"""A step of up to 256 ranks, in one process: torch's fake group exchanges nothing and says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing._internal.distributed.fake_pg import FakeStore

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.parallel.groups import GROUPS
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from .test_exactness import CLASSES, IMAGE, TINY, _batch

Exchange = tuple[str, int]
"""Its kind, and how many numbers a rank sends."""


class Exchanges:
    """Keeps what a rank's step exchanges, in its order."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.found: list[Exchange] = []
        reduce, gather = dist.all_reduce, dist.all_gather_into_tensor

        def heard_reduce(values: Tensor, *arguments: Any, **named: Any) -> Any:
            self.found.append(("sum", values.numel()))
            return reduce(values, *arguments, **named)

        def heard_gather(parts: Tensor, values: Tensor, **named: Any) -> Any:
            self.found.append(("gather", values.numel()))
            return gather(parts, values, **named)

        patch.setattr(dist, "all_reduce", heard_reduce)
        patch.setattr(dist, "all_gather_into_tensor", heard_gather)

        listener = self

        class Heard(DistributedDataParallel):
            """The fake group has no future for DDP to wait for: a hook answers instead."""

            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(*arguments, **named)  # type: ignore[no-untyped-call]
                # A lambda, because DDP compares annotations, which here are text.
                self.register_comm_hook(None, lambda _, bucket: listener._bucket(bucket))

        patch.setattr("distgan.parallel.world.DistributedDataParallel", Heard)

    def _bucket(self, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        self.found.append(("gradients", bucket.buffer().numel()))
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done


@pytest.fixture
def no_group() -> Iterator[None]:
    """Whatever a test made, there is no process group after it."""
    yield
    GROUPS.forget()
    if dist.is_initialized():
        dist.destroy_process_group()


def cycle(config: RunConfig, rank: int, size: int) -> list[Exchange]:
    """What a rank exchanges in a cycle of updates."""
    dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
    try:
        world = World(rank, size)
        with pytest.MonkeyPatch.context() as patch:
            heard = Exchanges(patch)
            state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)
            heard.found.clear()
            for _ in range(state.cycle):
                state.step([_batch(config, world, state.images_seen)])
        return heard.found
    finally:
        dist.destroy_process_group()


def configure(network: str, size: int, **changes: Any) -> RunConfig:
    basis = {
        **{f"{side}.network.name": network for side in ("generator", "discriminator")},
        **TINY[network],
        **{"batch": size, "latent": 4},
    }
    return override(recipe("mnist-mlp-tutorial"), basis | changes)


def norms(config: RunConfig, role: str) -> int:
    """Batch norms of a network."""
    network = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World()).networks[role]
    return sum(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.network.modules())


@pytest.mark.parametrize(
    "size", [pytest.param(8, marks=pytest.mark.slow), pytest.param(32, marks=pytest.mark.slow), 256]
)
@pytest.mark.parametrize(
    ("network", "updates"), [("mlp", 1), ("dcgan", 1), ("sngan", 2)], ids=["mlp", "dcgan", "sngan"]
)
def test_all_ranks_exchange_the_same_in_the_same_order(
    no_group: None, network: str, updates: int, size: int
) -> None:
    config = configure(network, size, **{"discriminator.updates": updates})
    first, last = (cycle(config, rank, size) for rank in (0, size - 1))
    assert first == last
    alone = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
    generator, discriminator = (alone.networks[r] for r in ("generator", "discriminator"))
    norms = [
        isinstance(m, nn.modules.batchnorm._BatchNorm) for m in generator.network.modules()
    ].count(True)
    assert norms == {"mlp": 0, "dcgan": 1, "sngan": 3}[network]
    # Of G alone, and of all of them in each forward: for every update of D, without a gradient,
    # and for its own, after which each sums once in the backward.
    kinds = Counter(kind for kind, _ in first)
    assert (kinds["gather"], kinds["sum"]) == (norms * (updates + 1), norms)
    sent = sum(numbers for kind, numbers in first if kind == "gradients")
    sizes = [sum(p.numel() for p in n.parameters) for n in (discriminator, generator)]
    assert sent == updates * sizes[0] + sizes[1]
