"""What every run has to say, whatever family of models it trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from distgan.config.evaluate import EvaluateSettings
from distgan.config.feed import FeedSettings
from distgan.config.health import HealthSettings
from distgan.config.settings import SETTINGS, Count, PositiveCount, leaves


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
    profile: NonNegativeInt = 0
    """Trace this many steps of rank 0, from the fourth after a start on, with torch's profiler, to
    a file in profile/; 0 for no trace."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RunConfig:
    """Everything that decides what a run computes, but for what its family adds."""

    recipe: str
    """The recipe that this configuration started from."""
    family: str
    """The family of models. Decides what other settings there are."""
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
    precision: Literal["float32", "bf16", "float64"] = "float32"
    """Arithmetic: float32, bf16 (autocast; weights and penalties stay float32), float64."""
    deterministic: bool = False
    """Use only operations that give the same bits in every run, for GPUs, where others are faster;
    an operation that cannot do so ends the run with an error."""
    compile: Annotated[Literal["off", "on"], BeforeValidator(_switch)] = "off"
    """torch.compile the networks: on or off. Costs a minute at the start, wants a C++ compiler,
    and cannot go with penalties on gradients."""
    feed: FeedSettings = field(default_factory=FeedSettings)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    health: HealthSettings = field(default_factory=HealthSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    output: OutputConfig = field(default_factory=OutputConfig)

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        for text in self.contradictions():
            raise ValueError(text)
        return self

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        if self.batch % self.accumulate:
            yield f"--accumulate {self.accumulate}: does not divide the batch of {self.batch}"

    def idle(self) -> Iterator[tuple[str, str]]:
        """Dotted names of settings that have no effect, each with ``without`` or ``with`` what.

        Defaults may well be among them; who types one is told.
        """
        if self.health.action != "rollback":
            for name in ("change", "rollbacks"):
                yield f"health.{name}", "without --health.action rollback"
        if self.feed.way == "resident":
            for name in ("window", "lanes"):
                yield f"feed.{name}", "with --feed.way resident"

    @property
    def second_set(self) -> str:
        """Name or place of the second set of a family that learns from two; empty without."""
        return ""

    @property
    def halved(self) -> bool:
        """Whether a family that learns from two sets takes the halves of one."""
        return False

    def search_space(self) -> dict[str, str]:
        """What a search varies where nobody says what, by setting: see `distgan.tune.space`."""
        names = [setting.name for setting in leaves(self)]
        return {name: "scale(0.3, 10)" for name in names if f".{name}".endswith(".optimizer.lr")}

    @property
    def total(self) -> int:
        """Images at the end of training: ``images``, rounded up to whole batches."""
        return -(-self.images // self.batch) * self.batch

    @property
    def micro_batch(self) -> int:
        """Real images in a global micro-batch."""
        return self.batch // self.accumulate

    @property
    def dtype(self) -> torch.dtype:
        """The floating-point type of weights and images."""
        return torch.float64 if self.precision == "float64" else torch.float32
