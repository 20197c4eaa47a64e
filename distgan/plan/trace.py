"""Count what a configuration's step does by running it without memory.

The step itself runs, on torch's ``meta`` device, where tensors have shapes and nothing else:
whatever a recipe turns on is counted as it happens.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from distgan.config.run import RunConfig
from distgan.families import DataSpec, Phase
from distgan.parallel import World
from distgan.plan.batches import random_batches
from distgan.plan.buckets import buckets
from distgan.plan.work import Flops, Kind, Message, Update, Work
from distgan.training.network import TrainableNetwork
from distgan.training.state import TrainingState
from distgan.training.update import TrainingStep

META = torch.device("meta")
"""Where tensors have shapes and nothing else."""
_FEW, _MORE = 2, 4
"""Images of the micro-batches that are traced; everything is linear in them."""
_FREE = ("empty", "empty_like", "empty_strided", "new_empty", "detach")
"""Operations besides views that start no kernel."""


def trace(config: RunConfig, data: DataSpec) -> Work:
    """Count a cycle of updates on images of these shapes."""
    return _traced(traceable(config), data)


def traceable(config: RunConfig) -> RunConfig:
    """A configuration that runs on `META` and computes as much as another."""
    # Neither changes what is counted, and neither runs without memory.
    precision: Any = "float64" if config.precision == "float64" else "float32"
    return replace(config, precision=precision, compile="off")


@functools.lru_cache(maxsize=32)
def _traced(config: RunConfig, data: DataSpec) -> Work:
    with META:
        state = TrainingState(config, data, World(device=META))
    rare = state.family.lazy_interval
    share = min(1.0, config.batch / rare) if rare else 1.0
    updates = _updates(config, data, rare, 0)
    if share < 1:
        # Most batches pay no penalty on gradients; what travels is the same.
        batch = config.batch
        spared = next(seen for seen in itertools.count(batch, batch) if -seen % rare >= batch)
        free = _updates(config, data, rare, spared)
        updates = [_mix(paid, not_, share) for paid, not_ in zip(updates, free, strict=True)]
    cycle = state.cycle
    phases = state.family.phases((cycle - 1) * config.batch)
    turns = [cycle // max(map(state.every, phase.trains)) for phase in phases]
    cycles = [[update] * count for update, count in zip(updates, turns, strict=True)]
    return Work(tuple(update for part in cycles for update in part), cycle)


def _updates(config: RunConfig, data: DataSpec, rare: int, seen: int) -> list[Update]:
    # One of each phase; `seen` images after a moment at which lazy terms are due.
    few, more = (run_step(config, data, images, rare, seen) for images in (_FEW, _MORE))
    return [_line(a, b) for a, b in zip(few, more, strict=True)]


def _line(few: _Count, more: _Count) -> Update:
    def through(a: float, b: float) -> Flops:
        each = (b - a) / (more.images - few.images)
        return Flops(a - each * few.images, each)

    return Update(
        more.network,
        through(few.convolutions, more.convolutions),
        through(few.products, more.products),
        more.kernels,
        more.parameters,
        more.messages,
        through(few.exact_convolutions, more.exact_convolutions),
        through(few.exact_products, more.exact_products),
        through(few.half_convolutions, more.half_convolutions),
        through(few.half_products, more.half_products),
    )


def _mix(one: Update, other: Update, share: float) -> Update:
    def between(a: float, b: float) -> float:
        return share * a + (1 - share) * b

    def flops(a: Flops, b: Flops) -> Flops:
        return Flops(between(a.fixed, b.fixed), between(a.per_image, b.per_image))

    return replace(
        other,
        convolutions=flops(one.convolutions, other.convolutions),
        products=flops(one.products, other.products),
        kernels=round(between(one.kernels, other.kernels)),
        exact_convolutions=flops(one.exact_convolutions, other.exact_convolutions),
        exact_products=flops(one.exact_products, other.exact_products),
        half_convolutions=flops(one.half_convolutions, other.half_convolutions),
        half_products=flops(one.half_products, other.half_products),
    )


def run_step(config: RunConfig, data: DataSpec, images: int, rare: int, seen: int) -> list[_Count]:
    """Run one update of each phase on `META`; what each does.

    Args:
        images: of each micro-batch.
        rare: images between moments at which lazy terms are due, or 0.
        seen: images after such a moment.
    """
    with META:
        state = TrainingState(config, data, World(device=META))
    batches = random_batches(config, state.family, images, META)
    # Schedules are those of the middle of the run.
    interval = rare or config.batch
    middle = config.images // 2 // interval * interval + seen
    cycle = state.cycle * config.batch
    phases = state.family.phases(middle // cycle * cycle + cycle - config.batch)
    counter = Counter(config, images, phases)
    networks = {role: counter.watch(network) for role, network in state.networks.items()}
    with counter:
        step = TrainingStep(networks, middle, counter.autocast, counter.whole, config.seed)
        step.run(phases, batches)
    return counter.ended


def _convolution_backward(
    grad: Tensor, images: Tensor, weight: Tensor, transposed: bool, wanted: list[bool]
) -> float:
    # For its images and for its weights, each, as much as the convolution forward. torch's own
    # formula overlooks groups.
    places = images if transposed else grad
    return 2 * places.numel() * weight[0].numel() * sum(wanted[:2])


@dataclass
class _Count:
    """Of one update so far; ``waited`` and ``arrived`` hold the operations done before."""

    network: str
    images: int
    convolutions: float = 0.0
    products: float = 0.0
    exact_convolutions: float = 0.0
    exact_products: float = 0.0
    half_convolutions: float = 0.0
    half_products: float = 0.0
    kernels: int = 0
    exact: bool = False
    waited: list[tuple[float, int, Kind]] = field(default_factory=list)
    arrived: dict[Tensor, float] = field(default_factory=dict)
    messages: tuple[Message, ...] = ()

    @property
    def flops(self) -> float:
        return self.convolutions + self.products

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.arrived)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts while a step runs; an update ends with its optimizer's step."""

    def __init__(self, config: RunConfig, images: int, phases: Sequence[Phase]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ended: list[_Count] = []
        self._config, self._images = config, images * config.accumulate
        self._phases = list(phases)
        self.now = _Count(phases[0].name, self._images)
        self._to_step = len(phases[0].trains)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        packet = function.overloadpacket
        if packet in flop_registry:
            if packet is torch.ops.aten.convolution_backward:
                flops = _convolution_backward(args[0], args[1], args[2], args[7], args[10])
            else:
                flops = flop_registry[packet](*args, **(kwargs or {}), out_val=result)
            half = flops * (args[0].dtype == torch.bfloat16)
            exact = (flops - half) * self.now.exact
            if "conv" in packet.__name__:
                self.now.convolutions += flops
                self.now.exact_convolutions += exact
                self.now.half_convolutions += half
            else:
                self.now.products += flops
                self.now.exact_products += exact
                self.now.half_products += half
        if not (function.is_view or packet.__name__ in _FREE):
            self.now.kernels += 1
        return result

    def watch(self, trained: TrainableNetwork) -> TrainableNetwork:
        """The network, with everything noted that it would exchange with others."""
        for parameter in trained.parameters:
            parameter.register_post_accumulate_grad_hook(self._arrive)  # type: ignore[no-untyped-call]
        for part in trained.network.modules():
            normalises = isinstance(part, nn.modules.batchnorm._BatchNorm)
            if normalises and self._config.parallel.sync_batch_norm:
                part.register_forward_hook(self._normalise)
        # The fused ones do not know `meta`; one of nothing says when its turn has come.
        nothing = torch.optim.SGD([nn.Parameter(torch.zeros(()))])
        nothing.register_step_pre_hook(lambda *_: self._end())
        return replace(trained, optimizer=nothing)

    def autocast(self, enabled: bool) -> AbstractContextManager[object]:
        """For a device that knows no autocast; notes where there would be none under bf16.

        What follows until the next forward, its backward included, is then in float32 in any case.
        """
        self.now.exact = not enabled
        return nullcontext()

    def whole(self, values: Tensor) -> Tensor:
        """Note that the values of each sample are gathered, and summed again in backward."""
        size = values.element_size() * values[0].numel() * self._config.micro_batch
        self._wait(size, "whole")
        if values.requires_grad:
            values.register_hook(lambda _: self._wait(size, "reduce"))  # type: ignore[no-untyped-call]
        return values

    def _wait(self, size: int, kind: Kind) -> None:
        self.now.waited.append((self.now.flops, size, kind))

    def _arrive(self, parameter: Tensor) -> None:
        # Again in every micro-batch, of which the last exchanges.
        self.now.arrived.pop(parameter, None)
        self.now.arrived[parameter] = self.now.flops

    def _normalise(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        # As `GlobalBatchNorm` does: count, means and variances; in backward two sums.
        width, channels = inputs[0].element_size(), inputs[0].shape[1]
        if layer.training:
            self._wait(width * (1 + 2 * channels), "gather")
            if output.requires_grad and inputs[0].requires_grad:
                sums = width * 2 * channels
                output.register_hook(lambda _: self._wait(sums, "reduce"))  # type: ignore[no-untyped-call]

    def _end(self) -> None:
        self._to_step -= 1
        if self._to_step:
            return
        now = self.now
        total, arrived = max(now.flops, 1.0), list(now.arrived.items())
        sizes = [parameter.nbytes for parameter, _ in arrived]
        found = [Message(at / total, size, kind) for at, size, kind in now.waited]
        for bucket in buckets(sizes):
            size = sum(sizes[i] for i in bucket)
            if self._config.parallel.compress:
                size = size * 2 // arrived[0][0].element_size()
            found.append(Message(arrived[bucket[-1]][1] / total, size, "gradients"))
        now.messages = tuple(sorted(found, key=lambda message: message.at))
        self.ended.append(now)
        later = self._phases[len(self.ended) :]
        if later:
            self.now = _Count(later[0].name, self._images)
            self._to_step = len(later[0].trains)
