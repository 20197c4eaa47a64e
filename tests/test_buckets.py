"""Three ranks and more go on from a checkpoint to the same bits.

With two ranks a sum has one order only, which hides what three show: gradients that travel in
other buckets after a start than within a run.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from distgan.config.run import RunConfig
from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from . import ranks
from .test_exactness import CLASSES, IMAGE, TINY, _batch

UPDATES = 3
LAZY = {"discriminator.penalty.r1": 0.5, "discriminator.penalty.every": 48}
"""A penalty in every second update: after a stop the first one has another graph."""


def configure(network: str, **changes: Any) -> RunConfig:
    basis = {
        **{f"{side}.network.name": network for side in ("generator", "discriminator")},
        **TINY[network],
        **{"batch": 24, "latent": 4},
    }
    return override(recipe("mnist-mlp-tutorial"), basis | changes)


SEVERAL_BUCKETS = {f"{side}.network.widths": "400,500" for side in ("generator", "discriminator")}
"""More than DDP's first bucket of 1 MB."""
SMALL = {
    "mlp": configure("mlp", **SEVERAL_BUCKETS),
    "sngan, lazy penalty, micro-batches": configure("sngan", **LAZY, accumulate=2),
}
ALL = {
    **SMALL,
    "mlp, compressed": configure("mlp", **{"parallel.compress": True}),
    "dcgan, micro-batches": configure("dcgan", accumulate=2),
    "dcgan, shared fakes": configure("dcgan", share_fakes=True),
    "dcgan, micro-batches, lazy penalty": configure("dcgan", **LAZY, accumulate=2),
    "sngan, bf16, ada": configure(
        "sngan", **{"precision": "bf16", "discriminator.augment.name": "ada"}
    ),
    "sngan, conditional": configure("sngan", conditional=True),
    "r3gan, penalties": configure(
        "r3gan", **{"discriminator.penalty.r1": 0.5, "discriminator.penalty.r2": 0.5}
    ),
    "r3gan, lazy penalty": configure("r3gan", **LAZY),
    **{
        f"as in {name}": override(recipe(name), {"batch": 24, "data": "mnist"})
        for name in ("mnist-mlp-tutorial", "mnist-dcgan")
    },
}


def _update(state: TrainingState, config: RunConfig, updates: int = UPDATES) -> None:
    for _ in range(updates):
        starts = range(0, config.batch, config.micro_batch)
        state.step([_batch(config, state.world, state.images_seen + first) for first in starts])


def _everything(state: TrainingState) -> dict[str, Tensor]:
    return {
        f"{name} {key}": value.clone()
        for name, network in (
            ("G", state.networks["generator"].network),
            ("D", state.networks["discriminator"].network),
            ("average", state.averages["generator"].average),
        )
        for key, value in network.state_dict().items()
    }


def _buckets(state: TrainingState) -> list[list[list[int]]]:
    """By player and bucket: which of the player's parameters lie in it, in their order."""
    found = []
    for player in state.networks.values():
        places = {p.data_ptr(): number for number, p in enumerate(player.parameters)}
        buckets = player.parallel.reducer._get_zeros_like_grad_buckets()  # type: ignore[operator, union-attr]
        found.append([[places[p.data_ptr()] for p in b.parameters()] for b in buckets])
    return found


def _stopped_and_not(world: World, configs: dict[str, RunConfig]) -> dict[str, Any]:
    """By case: what differs after a resumption, the same after one on more ranks, and buckets."""
    found = {}
    for name, config in configs.items():
        straight = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)
        buckets = [_buckets(straight)]
        _update(straight, config)
        saved = copy.deepcopy(straight.state_dict())
        _update(straight, config)
        buckets.append(_buckets(straight))
        resumed = _resume(config, world, saved)
        _update(resumed, config)
        # As if it had been written by one rank fewer.
        fewer = {**saved, "ranks": saved["ranks"][1:]}
        grown = [_resume(config, world, fewer), _resume(config, world, fewer)]
        _update(grown[0], config, 2)
        _update(grown[1], config, 1)
        again = _resume(config, world, copy.deepcopy(grown[1].state_dict()))
        buckets.append(_buckets(again))
        _update(again, config, 1)
        found[name] = (
            _different(straight, resumed),
            _different(grown[0], again),
            all(each == buckets[0] for each in buckets),
        )
    return found


def _resume(config: RunConfig, world: World, saved: dict[str, Any]) -> TrainingState:
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)
    state.load_state_dict(copy.deepcopy(saved), "here")
    return state


def _different(one: TrainingState, other: TrainingState) -> list[str]:
    expected = _everything(other)
    return [key for key, value in _everything(one).items() if not torch.equal(value, expected[key])]


def _assert_alike(size: int, folder: Path, configs: dict[str, RunConfig]) -> None:
    for found in ranks.on_ranks(size, _stopped_and_not, folder, configs):
        assert found == dict.fromkeys(configs, ([], [], True))


@pytest.mark.slow
def test_three_ranks_go_on_to_the_same_bits(tmp_path: Path) -> None:
    _assert_alike(3, tmp_path, SMALL)


@pytest.mark.drill
@pytest.mark.parametrize("size", [3, 4])
def test_every_network_goes_on_to_the_same_bits(tmp_path: Path, size: int) -> None:
    _assert_alike(size, tmp_path, ALL)


def _wrapped(world: World, config: RunConfig) -> dict[str, Any]:
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), world)
    players = tuple(state.networks.values())
    return {
        "everything": _everything(state),
        "random": torch.get_rng_state(),
        "gradients": [p.grad for player in players for p in player.parameters],
        "training": [m.training for player in players for m in player.parallel.modules()],
    }


@pytest.mark.slow
def test_settling_buckets_leaves_no_trace(tmp_path: Path) -> None:
    config = SMALL["sngan, lazy penalty, micro-batches"]
    alone = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
    found = ranks.on_ranks(2, _wrapped, tmp_path, config)
    for key, value in _everything(alone).items():
        assert torch.equal(found[0]["everything"][key], value), key
    assert torch.equal(found[0]["random"], torch.get_rng_state())
    for each in found:
        assert len(each["gradients"]) > 0
        assert not [g for g in each["gradients"] if g is not None]
        assert all(each["training"])
