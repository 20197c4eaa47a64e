"""The configuration of image enlargement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic.dataclasses import dataclass

from distgan.config.schedule import Schedule, Strength
from distgan.config.settings import SETTINGS
from distgan.families.translation_config import PairedConfig


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SuperResConfig(PairedConfig):
    """Everything that decides what a run of image enlargement computes, whatever it runs on."""

    family: Literal["superres"] = "superres"
    """The family of models. Decides what other settings there are."""
    task: Literal["pairs", "edges", "gray", "small"] = "small"
    """Where pairs come from. small: the input is made from each image, which is made --scale times
    smaller. pairs: the set has a column of them, of another size."""
    l1: Strength = Schedule(1)
    """Weight of the mean absolute difference of output and target, pixels being in [-1, 1]."""
    l2: Strength = Schedule(0)
    """Weight of the mean squared difference."""
    features: Strength = Schedule(0)
    """Weight of the mean absolute difference of what output and target are in the discriminator's
    hidden layers, a mean for each layer and their sum (Wang et al. 2018, equation 3)."""
    adversarial: Strength = Schedule(1e-3)
    """Weight of the adversarial loss in the generator's: 1e-3 as in SRGAN (Ledig et al. 2017,
    equation 3). 0:1e-3:50k-100k:linear leaves it out for 50k images, and then raises it. 0 for
    SRResNet, which learns by distances alone."""
    see_input: bool = False
    """Show the discriminator the enlarged input beside the output; as published, not."""

    @property
    def plays(self) -> bool:
        """Whether there is a discriminator: for its judgement or for its features."""
        return not (self.adversarial.is_zero and self.features.is_zero)

    def contradictions(self) -> Iterator[str]:
        """What is wrong with settings that are each right, with the remedy."""
        yield from PairedConfig.contradictions(self)
        if self.l1.is_zero and self.l2.is_zero and not self.plays:
            yield (
                "--l1 0: with --l2 0, --features 0 and --adversarial 0 nothing is minimised; raise "
                "one of them"
            )
