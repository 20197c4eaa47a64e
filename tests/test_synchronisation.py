"""A step never has the processor wait for the device, nor the device for numbers of the host."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from distgan.config.settings import override
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.recipes import recipe
from distgan.training.state import TrainingState

from .test_exactness import AIDS, BATCH, CLASSES, IMAGE, PENALTIES, TINY, _batch

WAITS = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "unique")
"""A number for the processor, sizes that depend on numbers, and a tensor made of a list."""


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the names of operations that wait."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if name.startswith(WAITS):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def waits(changes: dict[str, Any]) -> list[str]:
    """Of one cycle of updates, once those that only the first step does are done."""
    config = override(recipe("mnist-mlp-tutorial"), {**changes, "batch": BATCH})
    state = TrainingState(config, DataSpec.numbered(IMAGE, CLASSES), World())
    found = Waits()
    for step in range(2 * config.discriminator.updates):
        first = state.images_seen
        starts = range(first, first + config.batch, config.micro_batch)
        batches = [_batch(config, World(), start) for start in starts]
        if step < config.discriminator.updates:
            state.step(batches)
        else:
            with found:
                state.step(batches)
    return found.found


R1 = {"discriminator.penalty.r1": 0.5, "discriminator.penalty.r2": "0.5:0.1:50"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "penalties, clipped, ada": ("mlp", {**R1, **AIDS["clipped gradients"], **AIDS["ada"]}),
    "other penalties": ("mlp", {**AIDS["two penalties on other images"], **PENALTIES["lecam"]}),
    "top-k in parts, bf16": ("mlp", {**AIDS["top-k"], "accumulate": 2, "precision": "bf16"}),
    "auxiliary": ("mlp", AIDS["auxiliary"]),
    "diffaugment": ("dcgan", {"discriminator.augment.name": "diffaugment"}),
    "projection, top-k of pairs": ("sngan", {**AIDS["projection"], **AIDS["top-k of pairs"]}),
    "flip": ("r3gan", {**R1, "discriminator.augment.name": "flip"}),
    "penalties at raw images": ("r3gan", AIDS["penalties at raw images"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_step_waits_for_nothing(name: str) -> None:
    network, changes = CASES[name]
    named = {f"{side}.network.name": network for side in ("generator", "discriminator")}
    assert waits({**named, **TINY[network], "latent": 4, **changes}) == []
