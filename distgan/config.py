"""The whole configuration of a run: its components' settings, and what belongs to none."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import Field, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.data.ways import FeedSettings
from distgan.ema import EMASettings
from distgan.errors import UserError
from distgan.losses import LOSSES
from distgan.networks import DiscriminatorNetwork, GeneratorNetwork
from distgan.optimizer import AdamSettings
from distgan.settings import SETTINGS, Count, PositiveCount, from_dict, nearest, to_dict


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GeneratorConfig:
    """The generator and what trains it."""

    network: GeneratorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = field(default_factory=EMASettings)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscriminatorConfig:
    """The discriminator and what trains it."""

    network: DiscriminatorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OutputConfig:
    """What a run writes, and how often; every interval counts images."""

    log_every: PositiveCount = 10_000
    """Images between records of losses, D(x), gradient norms and speed."""
    sample_every: PositiveCount = 60_000
    """Images between grids of samples."""
    checkpoint_every: PositiveCount = 120_000
    """Images between checkpoints."""
    keep_checkpoints: PositiveInt = 2
    """How many of the newest checkpoints stay."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Config:
    """Everything that decides what a run computes, whatever it runs on."""

    recipe: str
    """The recipe that this configuration started from."""
    data: str = "mnist"
    """A packaged set, a Parquet file, or a folder or URI made by `distgan data prepare`."""
    images: Count = 1_000_000
    """Real images to train on, repeats included; rounded up to whole batches."""
    batch: PositiveInt = 128
    """Real images in a global batch, over all workers."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides weights, order of the data and latents."""
    latent: PositiveInt = 100
    """Length of the generator's input z."""
    conditional: bool = False
    """Give both networks the labels."""
    loss: str = "non-saturating"
    """Adversarial loss: non-saturating or minimax."""
    share_fakes: bool = False
    """Run the generator once a step for both updates, instead of once for each."""
    precision: Literal["float32", "float64"] = "float32"
    """Floating-point type of weights and images."""
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    feed: FeedSettings = field(default_factory=FeedSettings)
    output: OutputConfig = field(default_factory=OutputConfig)

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, name: str) -> str:
        if name not in LOSSES:
            raise ValueError(f"no such loss{nearest(name, list(LOSSES))}; have {', '.join(LOSSES)}")
        return name

    @property
    def dtype(self) -> torch.dtype:
        """torch's name of `precision`."""
        kind: torch.dtype = getattr(torch, self.precision)
        return kind


def to_yaml(config: Config) -> str:
    """The configuration as YAML, in the order in which it is declared."""
    return str(yaml.safe_dump(to_dict(config), sort_keys=False))


def from_yaml(text: str, source: str) -> Config:
    """Read what `to_yaml` wrote.

    Raises:
        UserError: naming ``source`` and the first field that does not fit.
    """
    try:
        values: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(values, dict):
        raise UserError(f"{source}: not a configuration; write one with `distgan show --yaml`")
    return from_dict(Config, values, source)
