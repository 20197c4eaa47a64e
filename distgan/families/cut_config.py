"""The configuration of contrastive translation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass

from distgan.config.optimizer import AdamSettings
from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS
from distgan.families.translation_config import UnpairedConfig
from distgan.networks.projector import ProjectorSettings


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ProjectorConfig:
    """The network that maps features of places to vectors that are compared, and its training."""

    network: ProjectorSettings = field(default_factory=ProjectorSettings)
    optimizer: AdamSettings = field(default_factory=AdamSettings)
    clip_norm: NonNegativeFloat = 0.0
    """Longest gradient, over all weights together; longer ones are shortened. 0: any."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class CUTConfig(UnpairedConfig):
    """Everything that decides what a run of CUT or FastCUT computes, whatever it runs on."""

    family: Literal["cut"] = "cut"
    """The family of models. Decides what other settings there are."""
    nce: Strength = Schedule(1)
    """Weight of the contrastive loss, that of the adversarial loss being 1; 10 for FastCUT."""
    nce_identity: bool = True
    """Also ask that images of the output's side stay what they are, by the same loss of these, of
    which the mean with the other counts; costs a second pass of the generator. Without for
    FastCUT."""
    flip_equivariance: bool = False
    """Mirror half of the inputs and compare the outputs, mirrored back, with the inputs as they
    were, as FastCUT does."""
    places: Annotated[int, Field(ge=2, le=2**16)] = 256
    """Places of an image that are compared in each layer; all where there are fewer."""
    temperature: PositiveFloat = 0.07
    """What likenesses, in [-1, 1], are divided by."""
    projector: ProjectorConfig = field(default_factory=ProjectorConfig)

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from UnpairedConfig.contradictions(self)
        if self.nce.is_zero:
            yield (
                "--nce 0: without the contrastive loss nothing ties an output to its input; "
                "1 is that of CUT, 10 that of FastCUT"
            )

    def search_space(self) -> dict[str, str]:
        """The rates of all networks, and the weight of the contrastive loss."""
        return {**UnpairedConfig.search_space(self), "nce": "scale(0.1, 10)"}
