"""What changes while a run trains, and its form in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distgan.augment import Augmenter
from distgan.config.run import Config, DiscriminatorConfig, GeneratorConfig
from distgan.errors import UserError
from distgan.networks import ImageShape
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import Penalty
from distgan.parallel import World, has_batch_norm
from distgan.training import optimizer
from distgan.training.ema import EMA
from distgan.training.network import TrainableNetwork
from distgan.training.statistics import Statistics
from distgan.training.step import STATISTICS, Batch, UpdateRule, adversarial_step


class TrainingState:
    """Both players, the generator's average, what D's images go through, images seen and
    running statistics.

    Built from the configuration's seed alone, the same on every rank.

    Args:
        classes: number of labels of the data, used when the run is conditional.
    """

    def __init__(self, config: Config, image: ImageShape, classes: int, world: World) -> None:
        self.world = world
        self.images_seen = 0
        self.statistics = Statistics(STATISTICS, world.device)
        self._config = config
        labels = classes if config.conditional else 0
        torch.manual_seed(config.seed)
        generator = config.generator.network.build(image, config.latent, labels)
        discriminator = config.discriminator.network.build(image, labels)
        label = torch.zeros(1, dtype=torch.int64, device=world.device) if labels else None
        zeros = partial(torch.zeros, dtype=config.dtype, device=world.device)
        self.generator = self._player(
            generator, config.generator, (zeros((1, config.latent)), label)
        )
        self.discriminator = self._player(
            discriminator, config.discriminator, (zeros((1, *image)), label)
        )
        self.ema = EMA(self.generator.network, config.generator.ema)
        self.augment = Augmenter(config.discriminator.augment, world.device)
        self.penalty = Penalty(config.discriminator.penalty, config.batch, world.device)
        self.rule = UpdateRule(
            loss=LOSSES[config.loss],
            penalty=self.penalty,
            augment=self.augment,
            share_fakes=config.share_fakes,
            auxiliary=config.discriminator.auxiliary,
            top_k=config.generator.top_k,
            bfloat16=config.precision == "bf16",
            whole=world.whole(config.micro_batch),
        )
        self._seed_rank(images_seen=0)

    def _player(
        self,
        network: nn.Module,
        config: GeneratorConfig | DiscriminatorConfig,
        example: Sequence[Tensor | None],
    ) -> TrainableNetwork:
        parallel = self._config.parallel
        network = network.to(self.world.device, self._config.dtype)
        # Convolutions run faster so, on CPU and GPU; nothing else is affected.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if parallel.sync_batch_norm:
            network = self.world.prepare(network)
        if self._config.compile != "off":
            network.compile()
        return TrainableNetwork(
            network,
            self.world.wrap(network, example, compress=parallel.compress),
            optimizer.build(config.optimizer, network),
            config.clip_norm,
            joint=not has_batch_norm(network),
        )

    @property
    def generators_turn(self) -> bool:
        """Whether the batch to come is the last of the discriminator's updates in a row."""
        updates = self._config.discriminator.updates
        return self.images_seen // self._config.batch % updates == updates - 1

    def step(self, batches: Sequence[Batch]) -> None:
        """Train on a global batch, of which this rank's parts are given; all ranks must call it."""
        config, turn = self._config, self.generators_turn
        for player, its in (
            (self.generator, config.generator),
            (self.discriminator, config.discriminator),
        ):
            optimizer.follow_schedules(its.optimizer, player.optimizer, self.images_seen)
        self.augment.follow_schedule(self.images_seen)
        found = adversarial_step(
            self.generator, self.discriminator, self.rule, batches, self.images_seen, turn
        )
        self.statistics.add(found)
        for player in (self.discriminator, self.generator)[: 2 if turn else 1]:
            self.world.count_gradients(player.network, compress=config.parallel.compress)
        self.penalty.after_update(self.discriminator.network, self.world)
        if self.augment.adaptation is not None:
            self.augment.adaptation.move(config.batch, self.world)
        if turn:
            images = config.batch * config.discriminator.updates
            self.ema.update(self.images_seen, images)
        self.images_seen += config.batch

    @torch.no_grad()
    def finite(self) -> bool:
        """Whether every weight of both networks is a number."""
        players = (self.generator.network, self.discriminator.network)
        weights: list[Tensor] = [weight for network in players for weight in network.parameters()]
        return bool(torch.stack(torch._foreach_norm(weights)).isfinite().all())

    def agree_on_buffers(self) -> None:
        """Make batch statistics that each rank took for itself one; all ranks must call it."""
        if not self._config.parallel.sync_batch_norm:
            for network in (self.generator.network, self.discriminator.network, self.ema.average):
                self.world.average_buffers(network)

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator.network,
            "discriminator": self.discriminator.network,
            "ema": self.ema.average,
            "generator_optimizer": self.generator.optimizer,
            "discriminator_optimizer": self.discriminator.optimizer,
            "penalty": self.penalty,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything above, and what each rank has to itself; all ranks must call it."""
        adaptation = self.augment.adaptation
        adapted = {"augment": adaptation.state_dict(self.world)} if adaptation else {}
        return {
            **adapted,
            **{name: part.state_dict() for name, part in self._parts().items()},
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
        for name, part in self._parts().items():
            try:
                part.load_state_dict(state[name])
            except (RuntimeError, ValueError, KeyError) as error:
                reason = " ".join(str(error).split())
                raise UserError(
                    f"--resume {source}: the checkpoint's {name} does not fit this code's "
                    f"({reason[:160]}); resume with the code and settings that wrote it"
                ) from None
        if self.augment.adaptation is not None:
            self.augment.adaptation.load_state_dict(state["augment"], self.world)
        self.images_seen = state["images_seen"]
        ranks = state["ranks"]
        self.statistics.load_state_dict([rank["statistics"] for rank in ranks], self.world)
        if len(ranks) == self.world.size:
            _set_random_state(ranks[self.world.rank]["random"], self.world.device)
        else:
            self._seed_rank(self.images_seen)

    def _seed_rank(self, images_seen: int) -> None:
        # Anything random inside a network differs between ranks.
        torch.manual_seed(hash((self._config.seed, self.world.rank, images_seen)) & 0xFFFFFFFF)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    restore: dict[str, Callable[[Tensor], None]] = {"cpu": torch.set_rng_state}
    if device.type == "cuda":
        restore["cuda"] = lambda value: torch.cuda.set_rng_state(value, device)
    for name, function in restore.items():
        if name in state:
            function(state[name])
