"""The whole configuration of a run: its components' settings, and what belongs to none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)
from pydantic.dataclasses import dataclass

from distgan.augment import Augmentation, NoneSettings
from distgan.config.evaluate import EvaluateSettings
from distgan.config.feed import FeedSettings
from distgan.config.health import HealthSettings
from distgan.config.optimizer import AdamSettings, EMASettings
from distgan.config.schedule import Schedule, Share
from distgan.config.settings import (
    SETTINGS,
    Count,
    PositiveCount,
    Width,
    from_dict,
    nearest,
    to_dict,
)
from distgan.networks import DiscriminatorNetwork, GeneratorNetwork
from distgan.objectives.adversarial import LOSSES
from distgan.objectives.penalties import GRADIENT_PENALTIES, PenaltySettings
from distgan.storage.textfiles import parse_yaml


def _known_loss(name: str) -> str:
    if name not in LOSSES:
        near = nearest(name[:80], list(LOSSES))
        raise ValueError(f"no such loss{near}; have {', '.join(LOSSES)}")
    return name


def _switch(value: Any) -> Any:
    if value == "graphs":
        # CUDA graphs overwrite what a step still needs: fakes, and gradients of micro-batches.
        raise ValueError(
            "graphs of single networks cannot train a GAN, and whole updates are not captured "
            "yet; use on or off"
        )
    # Who writes YAML by hand may well mean on and off by true and false.
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class GeneratorConfig:
    """The generator and what trains it."""

    network: GeneratorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    ema: EMASettings = field(default_factory=EMASettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""
    top_k: Share = Schedule(1)
    """Learn from this share of the fakes, those D believes most (Sinha et al. 2020)."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class DiscriminatorConfig:
    """The discriminator and what trains it."""

    network: DiscriminatorNetwork
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    augment: Augmentation = field(default_factory=NoneSettings)
    penalty: PenaltySettings = field(default_factory=PenaltySettings)
    updates: Annotated[int, Field(gt=0, le=10_000)] = 1
    """Updates of the discriminator, each on its own batch, for one of the generator."""
    auxiliary: NonNegativeFloat = 1.0
    """Weight of the classes' cross entropy, for a network with conditioning auxiliary."""
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ParallelConfig:
    """How several workers share the work; without effect on one."""

    sync_batch_norm: bool = True
    """Take batch statistics over the global batch, which keeps the result independent of the
    number of workers; without, each worker's are its own."""
    compress: bool = False
    """Send gradients as bfloat16: half the bytes, rounded."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class OutputConfig:
    """What a run writes, and how often; every interval counts images."""

    log_every: PositiveCount = 10_000
    """Images between records of losses, D(x), gradient norms and speed."""
    sample_every: PositiveCount = 60_000
    """Images between grids of samples."""
    checkpoint_every: PositiveCount = 300_000
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
    batch: Annotated[int, Field(gt=0, le=2**20)] = 128
    """Real images in a global batch, over all workers."""
    accumulate: PositiveInt = 1
    """Micro-batches that a batch is divided into, one in memory at a time."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Decides weights, order of the data and latents."""
    latent: Width = 100
    """Length of the generator's input z."""
    conditional: bool = False
    """Give both networks the labels."""
    loss: Annotated[str, AfterValidator(_known_loss)] = "non-saturating"
    """Adversarial loss: non-saturating, minimax, least-squares, hinge, wasserstein,
    relativistic or relativistic-average."""
    share_fakes: bool = False
    """Run the generator once a step for both updates, instead of once for each."""
    precision: Literal["float32", "bf16", "float64"] = "float32"
    """Arithmetic: float32, bf16 (autocast; weights and penalties stay float32), float64."""
    compile: Annotated[Literal["off", "on"], BeforeValidator(_switch)] = "off"
    """torch.compile both networks: on or off. Costs a minute at the start, wants a C++ compiler,
    and cannot go with penalties on gradients."""
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    feed: FeedSettings = field(default_factory=FeedSettings)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    health: HealthSettings = field(default_factory=HealthSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    output: OutputConfig = field(default_factory=OutputConfig)

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        for text in _contradictions(self):
            raise ValueError(text)
        return self

    @property
    def micro_batch(self) -> int:
        """Real images in a global micro-batch."""
        return self.batch // self.accumulate

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of weights and images."""
        return torch.float64 if self.precision == "float64" else torch.float32


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong with settings that are each right, with the remedy."""
    batch, every = config.batch, config.discriminator.penalty.every
    if batch % config.accumulate:
        yield f"--accumulate {config.accumulate}: does not divide the batch of {batch}"
    penalties = [n for n in GRADIENT_PENALTIES if config.discriminator.penalty.uses(n)]
    health = config.health
    if config.compile != "off" and health.action == "rollback" and health.change != "halve-lr":
        yield (
            f"--compile {config.compile}: a compiled network has no second derivative, which R1 "
            f"needs, added by --health.change {health.change} after a rollback; use halve-lr"
        )
    if config.compile != "off" and penalties:
        yield (
            f"--compile {config.compile}: a compiled network has no second derivative, which "
            f"--discriminator.penalty.{penalties[0]} needs; leave one of them out"
        )
    if every % batch:
        yield (
            f"--discriminator.penalty.every {every}: is not a whole number of batches of {batch}; "
            f"use {max(1, round(every / batch)) * batch}"
        )


def to_yaml(config: Config) -> str:
    """The configuration as YAML, in the order in which it is declared."""
    return str(yaml.safe_dump(to_dict(config), sort_keys=False))


def from_yaml(text: str, source: str) -> Config:
    """Read what `to_yaml` wrote.

    Raises:
        UserError: naming ``source`` and the first field that does not fit.
    """
    remedy = "mend it, or write one with `distgan show --yaml`"
    return from_dict(Config, parse_yaml(text, source, remedy), source)
