"""Where the time of a step goes, measured from outside of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.training import Training
from distgan.augment import Augmenter

DATA, G_FORWARD, D_FORWARD, AUGMENT, BACKWARD, COMMUNICATION, OPTIMIZER, EMA, LOGGING, OTHER = (
    *("data", "G forward", "D forward", "augment", "backward", "communication"),
    *("optimizer", "EMA", "logging", "other"),
)
PARTS = (
    *(DATA, G_FORWARD, D_FORWARD, AUGMENT, BACKWARD, COMMUNICATION),
    *(OPTIMIZER, EMA, LOGGING, OTHER),
)
"""Of a step. `BACKWARD` holds gradients of penalties too, `COMMUNICATION` only what the step
waits for, `OTHER` losses, zeroing of gradients, statistics of the step, and Python."""


class Stopwatch:
    """Seconds of each part, each counted once: inside of another it is taken from that one.

    Exact on a CPU. A device that works ahead would have to be waited for at every boundary.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.runs = False
        self._stack = [OTHER]
        self._last = 0.0

    def start(self) -> None:
        """From now on."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._stack, self.runs, self._last = [OTHER], True, time.perf_counter()

    def stop(self) -> dict[str, float]:
        """What was found since `start`."""
        self._charge()
        self.runs = False
        return self.seconds

    def enter(self, part: str) -> None:
        """A part begins."""
        if self.runs:
            self._charge()
            self._stack.append(part)

    def leave(self) -> None:
        """The part that began last ends."""
        if self.runs:
            self._charge()
            self._stack.pop()

    def move_since(self, moment: float, to: str) -> None:
        """Count what passed since a moment as another part than the present one."""
        if self.runs:
            self._charge()
            late = self._last - moment
            self.seconds[self._stack[-1]] -= late
            self.seconds[to] += late

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Around a part."""
        self.enter(part)
        try:
            yield
        finally:
            self.leave()

    def around(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.within(part):
                return function(*arguments, **named)

        return timed

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._stack[-1]] += now - self._last
        self._last = now


WATCHED: tuple[tuple[Any, str, str], ...] = (
    (torch.autograd, "backward", BACKWARD),
    (torch.autograd, "grad", BACKWARD),
    (Augmenter, "__call__", AUGMENT),
    (Augmenter, "observe", AUGMENT),
)
"""Functions that `watch` replaces for all of the process: owner, name, and their part."""

_FORWARDS = {"generator": G_FORWARD, "discriminator": D_FORWARD}


def watch(training: Training) -> Stopwatch:
    """A stopwatch for the steps of a GAN's training.

    Functions of torch are replaced, so that the process is for that alone from now on.
    """
    found, state = Stopwatch(), training.state
    for role, trained in state.networks.items():
        part = _FORWARDS[role]
        trained.network.register_forward_pre_hook(lambda *_, part=part: found.enter(part))
        trained.network.register_forward_hook(lambda *_: found.leave())
        trained.optimizer.register_step_pre_hook(lambda *_: found.enter(OPTIMIZER))
        trained.optimizer.register_step_post_hook(lambda *_: found.leave())
    if dist.is_available() and dist.is_initialized():
        _watch_exchange(found, [trained.parallel for trained in state.networks.values()])
    for owner, name, part in WATCHED:
        _set(owner, name, found.around(getattr(owner, name), part))
    _set(training.feed, "batch", found.around(training.feed.batch, DATA))
    _set(state.statistics, "add", found.around(state.statistics.add, LOGGING))
    for ema in state.averages.values():
        _set(ema, "update", found.around(ema.update, EMA))
    return found


def _watch_exchange(found: Stopwatch, parallel: list[nn.Module]) -> None:
    all_reduce, backward = dist.all_reduce, torch.autograd.backward
    exchanged = 0.0

    def exchange(_: Any, bucket: Any) -> torch.futures.Future[torch.Tensor]:
        nonlocal exchanged
        work = all_reduce(bucket.buffer().div_(dist.get_world_size()), async_op=True)
        exchanged = time.perf_counter()
        result: torch.futures.Future[torch.Tensor] = work.get_future().then(
            lambda done: done.value()[0]
        )
        return result

    def backward_and_wait(*arguments: Any, **named: Any) -> None:
        nonlocal exchanged
        exchanged = 0.0
        backward(*arguments, **named)
        # After the last bucket is handed over, nothing is left but to wait for it.
        if exchanged:
            found.move_since(exchanged, COMMUNICATION)

    # Inside of what `WATCHED` puts around it.
    _set(torch.autograd, "backward", backward_and_wait)
    # What waits where it stands: synchronised batch norm, losses over the whole batch.
    for name in ("all_reduce", "all_gather_into_tensor"):
        _set(dist, name, found.around(getattr(dist, name), COMMUNICATION))
    for network in parallel:
        if isinstance(network, DistributedDataParallel):
            # A lambda: what has annotations must have those of torch, not as text.
            network.register_comm_hook(None, lambda _, bucket: exchange(_, bucket))


def _set(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)
