"""The memory of a configuration's step: what stays, and what a step holds at its fullest.

As the operations, it is counted while the step runs on torch's ``meta`` device: every tensor is
followed from the operation that makes it until nothing refers to it any more.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from distgan.config.run import RunConfig
from distgan.families import DataSpec
from distgan.parallel import World
from distgan.plan.trace import META, run_step, traceable
from distgan.training.state import TrainingState

_MOMENTS = 2
"""Adam's, each as large as the weights."""


@dataclass(frozen=True)
class Memory:
    """Bytes on each worker. Not in them is what the device's libraries take for themselves.

    Args:
        weights: of all networks, with their buffers.
        averages: moving averages of networks.
        optimizers: Adam's moments.
        step: what a step holds besides at its fullest: activations and gradients above all.
            Under bf16 activations take less; here they count as float32.
    """

    weights: int
    averages: int
    optimizers: int
    step: int

    @property
    def total(self) -> int:
        """In all."""
        return self.weights + self.averages + self.optimizers + self.step


def memory(config: RunConfig, data: DataSpec, images: int) -> Memory:
    """Count the memory of a cycle of updates, lazy penalties included.

    Args:
        images: of each micro-batch on one worker.
    """
    return _memory(traceable(config), data, images)


@functools.lru_cache(maxsize=32)
def _memory(config: RunConfig, data: DataSpec, images: int) -> Memory:
    with META:
        state = TrainingState(config, data, World(device=META))
    weights = _bytes(net.network for net in state.networks.values())
    averages = _bytes(ema.average for ema in state.averages.values())
    trained = sum(part.nbytes for net in state.networks.values() for part in net.parameters)
    with Held() as held:
        run_step(config, data, images, state.family.lazy_interval, 0)
    return Memory(weights, averages, _MOMENTS * trained, held.most - weights - averages)


def _bytes(networks: Iterable[nn.Module]) -> int:
    return sum(part.nbytes for network in networks for part in network.state_dict().values())


class Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that operations have made and somebody still holds.

    Attributes:
        now: at this moment.
        most: the most that there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for part in tree_leaves(result):
            if isinstance(part, Tensor):
                self._hold(part.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        # torch keeps one object for a storage as long as anything refers to it, C++ included.
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._release, size).atexit = False

    def _release(self, size: int) -> None:
        self.now -= size
