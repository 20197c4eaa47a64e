"""What changes while a run trains, and its form in a checkpoint."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from distgan.config.run import RunConfig
from distgan.errors import UserError
from distgan.families import Batch, DataSpec, Network, build
from distgan.networks.random import number_layers
from distgan.parallel import World, has_batch_norm
from distgan.training import optimizer
from distgan.training.checked_options import load
from distgan.training.ema import EMA
from distgan.training.network import TrainableNetwork
from distgan.training.statistics import Statistics
from distgan.training.update import Autocast, TrainingStep, bfloat16, full_precision


class TrainingState:
    """The networks of a run with their optimizers and averages, what else its family keeps,
    images seen and running statistics.

    Built from the configuration's seed alone, the same on every rank.

    Attributes:
        networks: by role.
        averages: moving averages of networks, by the roles that have one.
    """

    def __init__(self, config: RunConfig, data: DataSpec, world: World) -> None:
        self.world = world
        self.images_seen = 0
        self._config = config
        self.family = build(config, data, world)
        self.statistics = Statistics(self.family.statistics, world.device)
        torch.manual_seed(config.seed)
        self._built = self.family.networks()
        first = 0
        for built in self._built.values():
            first = number_layers(built.module, first)
        self._random_seed = config.seed if first else None
        self.networks = {role: self._trainable(net) for role, net in self._built.items()}
        self.averages = {
            role: EMA(self.networks[role].network, net.average)
            for role, net in self._built.items()
            if net.average is not None
        }
        half = config.precision == "bf16"
        self._autocast: Autocast = bfloat16(world.device) if half else full_precision
        self._gather_global = world.whole(config.micro_batch)
        self._seed_rank(images_seen=0)

    def _trainable(self, built: Network) -> TrainableNetwork:
        config, world = self._config, self.world
        network = built.module.to(world.device, config.dtype)
        _channels_last(network)
        if config.parallel.sync_batch_norm:
            network = world.prepare(network)
        if config.compile != "off":
            network.compile()
        example = [self._on_device(part) for part in built.example]
        return TrainableNetwork(
            network,
            world.wrap(network, example, compress=config.parallel.compress),
            optimizer.build(built.optimizer, network),
            built.clip_norm,
            joint=not has_batch_norm(network),
        )

    def _on_device(self, part: Tensor | None) -> Tensor | None:
        if part is None or not part.is_floating_point():
            return None if part is None else part.to(self.world.device)
        return part.to(self.world.device, self._config.dtype)

    def every(self, role: str) -> int:
        """A step in so many trains the network of this role."""
        return self._built[role].every

    @property
    def cycle(self) -> int:
        """Steps after which every network has had its turn, and turns begin anew."""
        return math.lcm(*(net.every for net in self._built.values()))

    @contextlib.contextmanager
    def generating(self, weights: str = "ema") -> Iterator[dict[str, nn.Module]]:
        """The networks by role, in eval mode, to generate with inside.

        Args:
            weights: ``ema`` for averages in the place of the networks that have one; anything
                else for all networks as they were last updated.
        """
        found = {role: trained.network for role, trained in self.networks.items()}
        if weights == "ema":
            found |= {role: ema.average for role, ema in self.averages.items()}
        for network in found.values():
            network.eval()
        try:
            yield found
        finally:
            for trained in self.networks.values():
                trained.network.train()

    def training_step(self) -> TrainingStep:
        """The step that is to come, with the networks, precision and ranks of the run."""
        return TrainingStep(
            self.networks,
            self.images_seen,
            self._autocast,
            self._gather_global,
            self._random_seed,
        )

    def step(self, batches: Sequence[Batch]) -> None:
        """Train on a global batch, of which this rank's parts are given; all ranks must call it."""
        config, seen = self._config, self.images_seen
        for role, built in self._built.items():
            optimizer.follow_schedules(built.optimizer, self.networks[role].optimizer, seen)
        self.family.before_step(seen)
        phases = self.family.phases(seen)
        self.statistics.add(self.training_step().run(phases, batches))
        trained = [role for phase in phases for role in phase.trains]
        for role in trained:
            network = self.networks[role].network
            self.world.count_gradients(network, compress=config.parallel.compress)
        self.family.after_step({role: net.network for role, net in self.networks.items()})
        for role in trained:
            if role in self.averages:
                self.averages[role].update(seen, config.batch * self._built[role].every)
        self.images_seen += config.batch

    @torch.no_grad()
    def finite(self) -> bool:
        """Whether every weight of all networks is a number."""
        weights: list[Tensor] = [w for net in self.networks.values() for w in net.parameters]
        return bool(torch.stack(torch._foreach_norm(weights)).isfinite().all())

    def agree_on_buffers(self) -> None:
        """Make batch statistics that each rank took for itself one; all ranks must call it."""
        if not self._config.parallel.sync_batch_norm:
            averages = [ema.average for ema in self.averages.values()]
            for network in (*(net.network for net in self.networks.values()), *averages):
                self.world.average_buffers(network)

    def _parts(self) -> dict[str, dict[str, Any]]:
        return {
            "networks": {role: net.network for role, net in self.networks.items()},
            "optimizers": {role: net.optimizer for role, net in self.networks.items()},
            "averages": {role: ema.average for role, ema in self.averages.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything above, and what each rank has to itself; all ranks must call it."""
        parts = {
            kind: {role: part.state_dict() for role, part in of_kind.items()}
            for kind, of_kind in self._parts().items()
        }
        extra = self.family.extra_state()
        return {
            **parts,
            "extra": {name: each.state_dict(self.world) for name, each in extra.items()},
            "images_seen": self.images_seen,
            "ranks": self.world.gather(
                {
                    "statistics": self.statistics.state_dict(),
                    "random": _random_state(self.world.device),
                }
            ),
        }

    def load_state_dict(self, state: dict[str, Any], source: str) -> None:
        """Go on from a checkpoint, also one that another number of ranks wrote.

        Raises:
            UserError: when the networks are not those of the checkpoint.
        """
        for kind, of_kind in self._parts().items():
            for role, part in of_kind.items():
                with _fitting(source, f"{kind}.{role}"):
                    load(part, state[kind][role])
        for name, extra in self.family.extra_state().items():
            with _fitting(source, f"extra.{name}"):
                extra.load_state_dict(state["extra"][name], self.world)
        self.images_seen = state["images_seen"]
        ranks = state["ranks"]
        self.statistics.load_state_dict([rank["statistics"] for rank in ranks], self.world)
        if len(ranks) == self.world.size:
            _set_random_state(ranks[self.world.rank]["random"], self.world.device)
        else:
            self._seed_rank(self.images_seen)

    def _seed_rank(self, images_seen: int) -> None:
        # What a network draws from torch's own generator differs between ranks.
        torch.manual_seed(hash((self._config.seed, self.world.rank, images_seen)) & 0xFFFFFFFF)


def _channels_last(network: nn.Module) -> None:
    """Convolutions run faster so, on CPU and GPU; nothing else is affected."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for tensor in itertools.chain(network.parameters(), network.buffers()):
        if tensor.dim() in formats:
            tensor.data = tensor.data.to(memory_format=formats[tensor.dim()])


@contextlib.contextmanager
def _fitting(source: str, part: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--resume {source}: the checkpoint's {part} does not fit this code's "
            f"({reason[:160]}); resume with the code and settings that wrote it"
        ) from None


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    restore: dict[str, Callable[[Tensor], None]] = {"cpu": torch.set_rng_state}
    if device.type == "cuda":
        restore["cuda"] = lambda value: torch.cuda.set_rng_state(value, device)
    for name, function in restore.items():
        if name in state:
            function(state[name])
