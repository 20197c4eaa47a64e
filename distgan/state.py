"""What changes while a run trains, and its form in a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from distgan.augment import Augmenter
from distgan.config import Config
from distgan.ema import EMA
from distgan.errors import UserError
from distgan.networks import ImageShape
from distgan.optimizer import AdamSettings
from distgan.parallel import World
from distgan.step import STATISTICS, Player


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
        self.statistics = torch.zeros(len(STATISTICS), dtype=torch.float64, device=world.device)
        self.steps_counted = 0
        self._seed = config.seed
        labels = classes if config.conditional else 0
        torch.manual_seed(config.seed)
        generator = config.generator.network.build(image, config.latent, labels)
        discriminator = config.discriminator.network.build(image, labels)
        self.generator = self._player(generator, config.generator.optimizer, config.dtype)
        self.discriminator = self._player(
            discriminator, config.discriminator.optimizer, config.dtype
        )
        self.ema = EMA(self.generator.network, config.generator.ema)
        self.augment = Augmenter(config.discriminator.augment, world.device)
        self._seed_rank(images_seen=0)

    def _player(self, network: nn.Module, optimizer: AdamSettings, dtype: torch.dtype) -> Player:
        network = network.to(self.world.device, dtype)
        # Convolutions run faster so, on CPU and GPU; nothing else is affected.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        network = self.world.prepare(network)
        return Player(network, self.world.wrap(network), optimizer.build(network))

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator.network,
            "discriminator": self.discriminator.network,
            "ema": self.ema.average,
            "generator_optimizer": self.generator.optimizer,
            "discriminator_optimizer": self.discriminator.optimizer,
        }

    def state_dict(self) -> dict[str, Any]:
        """Everything above, and what each rank has to itself; all ranks must call it."""
        adaptation = self.augment.adaptation
        adapted = {"augment": adaptation.state_dict(self.world)} if adaptation else {}
        return {
            **adapted,
            **{name: part.state_dict() for name, part in self._parts().items()},
            "images_seen": self.images_seen,
            "steps_counted": self.steps_counted,
            "ranks": self.world.gather(
                {"statistics": self.statistics.cpu(), "random": _random_state(self.world.device)}
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
        self.steps_counted = state["steps_counted"]
        ranks = state["ranks"]
        if len(ranks) == self.world.size:
            self.statistics.copy_(ranks[self.world.rank]["statistics"])
            _set_random_state(ranks[self.world.rank]["random"], self.world.device)
        else:
            self.statistics.copy_(torch.stack([rank["statistics"] for rank in ranks]).mean(0))
            self._seed_rank(self.images_seen)

    def _seed_rank(self, images_seen: int) -> None:
        # Anything random inside a network differs between ranks.
        torch.manual_seed(hash((self._seed, self.world.rank, images_seen)) & 0xFFFFFFFF)


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
